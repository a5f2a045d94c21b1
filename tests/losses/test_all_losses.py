"""What every registered loss promises."""

import inspect
import re

import pytest
import torch

from mvector.losses import MarginScheduler, SpeakerClassifier
from mvector.registry import LOSSES
from tests.losses.loss_data import OF_1_1, some_cosines, some_embeddings

NAMES = LOSSES.names()
WITH_MARGIN = [name for name in NAMES if "margin" in inspect.signature(LOSSES.get(name)).parameters]
# Where a loss has branches, each has to keep the promises.
VARIANTS = [
    *((name, {}) for name in NAMES),
    ("AAMLoss", {"easy_margin": True, "label_smoothing": 0.1}),
    ("SphereFace2", {"margin_type": "A"}),
    ("SphereFace2", {"margin_type": "A", "t": 1}),
    ("SphereFace2", {"t": 2.5}),
    ("SubCenterLoss", {"easy_margin": True, "k_top": 2}),
    ("TripletAngularMarginLoss", {"normalize_feature": False, "add_absolute": False}),
]


def of_variants(variants: list[tuple[str, dict]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("name", "arguments"), variants, ids=["-".join([n, *a]) for n, a in variants])


every_variant = of_variants(VARIANTS)


def build(name: str, arguments: dict | None = None) -> torch.nn.Module:
    return LOSSES.build(name, arguments or {})


def inputs(
    loss: torch.nn.Module, dtype: torch.dtype = torch.float64, counts: tuple[int, ...] = (4, 4, 2, 4)
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits of a speaker more than `counts` names, labels, embeddings: counts[n] utterances of speaker n."""
    embeddings, labels = some_embeddings(list(counts))
    logits, _ = some_cosines(len(labels), len(counts) + 1, getattr(loss, "K", 1))
    return logits.to(dtype), labels // 10, embeddings.to(dtype)


def call_arguments(
    loss: torch.nn.Module, logits: torch.Tensor, labels: torch.Tensor, embeddings: torch.Tensor
) -> tuple:
    """What the trainer calls it with."""
    if not getattr(loss, "trains_classifier", True):
        return None, labels, embeddings
    return (logits, labels, embeddings) if getattr(loss, "needs_embeddings", False) else (logits, labels)


def call(loss: torch.nn.Module, logits: torch.Tensor, labels: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
    return loss(*call_arguments(loss, logits, labels, embeddings))


def gradients(loss: torch.nn.Module, logits, labels, embeddings) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The loss, and its gradient with respect to each input and parameter that it depends on."""
    leaves = [logits.clone().requires_grad_(), embeddings.clone().requires_grad_()]
    loss.zero_grad(set_to_none=True)
    value = call(loss, leaves[0], labels, leaves[1])
    value.backward()
    found = [leaf.grad for leaf in (*leaves, *loss.parameters()) if leaf.grad is not None]
    assert found
    return value.detach(), found


def test_the_names():
    assert set(NAMES) == {*OF_1_1, "CircleLoss", "GE2ELoss", "PrototypicalLoss"}
    assert set(WITH_MARGIN) == set(NAMES) - {"CELoss", "GE2ELoss", "PrototypicalLoss"}


@pytest.mark.parametrize("name", OF_1_1)
def test_arguments_and_defaults_are_those_of_the_older_package(name):
    signature = inspect.signature(LOSSES.get(name))
    defaults = {key: parameter.default for key, parameter in signature.parameters.items()}
    assert OF_1_1[name].items() <= defaults.items()
    # By position too, so what is new comes last.
    assert list(defaults)[: len(OF_1_1[name])] == list(OF_1_1[name])


@pytest.mark.parametrize("name", sorted({*NAMES} - {"CELoss"}))
def test_the_docstring_names_the_paper(name):
    assert re.search(r"[A-Z]\w+ (19|20)\d\d", LOSSES.get(name).__doc__ or "")


@every_variant
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_at_the_ends_of_the_cosine(name, arguments, dtype):
    """At exactly ±1 and a rounding error past it, for the right speaker and for a wrong one; with embeddings that are
    equal, opposite, or zero."""
    loss = build(name, arguments)
    past = 1 + 2 * torch.finfo(dtype).eps
    ends = torch.tensor([1.0, -1.0, 0.0, past, -past], dtype=dtype)
    pairs = torch.cartesian_prod(ends, ends)  # [25, 2]
    logits = pairs.repeat_interleave(getattr(loss, "K", 1), dim=1)  # every centre of a speaker has the same cosine
    labels = torch.zeros(25, dtype=torch.int64)
    labels[::3] = 1
    embeddings = ends[torch.arange(25) % 3].unsqueeze(1).repeat(1, 4)
    for margin in (None, 0.0, 0.5):
        if margin is not None and name in WITH_MARGIN:
            loss.update(margin)
        value, found = gradients(loss, logits, labels, embeddings)
        assert value.isfinite()
        for gradient in found:
            assert gradient.isfinite().all()


@every_variant
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(name, arguments, dtype):
    loss = build(name, arguments)
    logits, labels, embeddings = inputs(loss, dtype)
    with torch.autocast("cpu", torch.bfloat16):
        value, found = gradients(loss, logits, labels, embeddings)
    assert value.dtype == torch.float32
    assert all(gradient.isfinite().all() for gradient in found)
    expected, _ = gradients(loss, logits.float(), labels, embeddings.float())
    assert value.item() == expected.item()


# The weights of the circle loss count as constants; its gradient is tested in test_circle.
@of_variants([variant for variant in VARIANTS if variant[0] != "CircleLoss"])
def test_gradients_are_right(name, arguments):
    loss = build(name, arguments).double()
    logits, labels, embeddings = inputs(loss, counts=(2, 3))
    parameters = dict(loss.named_parameters())

    def value(logits, embeddings, *values):
        arguments = call_arguments(loss, logits, labels, embeddings)
        return torch.func.functional_call(loss, dict(zip(parameters, values, strict=True)), arguments)

    leaves = [leaf.detach().clone().requires_grad_() for leaf in (logits, embeddings, *parameters.values())]
    assert torch.autograd.gradcheck(value, leaves)


@every_variant
def test_the_order_of_the_batch_does_not_matter(name, arguments):
    loss = build(name, arguments)
    logits, labels, embeddings = inputs(loss)
    order = labels.argsort(stable=True)  # the prototypical loss knows a speaker's first utterance: that one stays first
    assert not torch.equal(order, torch.arange(len(order)))
    value = call(loss, logits, labels, embeddings)
    torch.testing.assert_close(call(loss, logits[order], labels[order], embeddings[order]), value)


@every_variant
def test_no_parameter_is_unused(name, arguments):
    loss = build(name, arguments)
    gradients(loss, *inputs(loss))
    for key, parameter in loss.named_parameters():
        assert parameter.grad is not None, key


@every_variant
def test_minimising_it_brings_a_speaker_together_and_speakers_apart(name, arguments):
    """Voices of four dimensions beside sixteen of noise, which a linear layer can learn to leave out."""
    torch.manual_seed(1)
    loss = build(name, arguments)
    labels = torch.arange(6).repeat_interleave(8)
    voices = torch.cat([torch.randn(6, 4)[labels] + 0.1 * torch.randn(48, 4), torch.randn(48, 16)], dim=1)
    network = torch.nn.Linear(20, 6)
    kind = "Cosine" if getattr(loss, "needs_cosines", False) else "Linear"
    classifier = SpeakerClassifier(6, 6, kind, K=getattr(loss, "K", 1))
    optimizer = torch.optim.Adam([*network.parameters(), *classifier.parameters(), *loss.parameters()], lr=0.05)

    def separation() -> float:
        """Mean cosine within speakers, less that between them."""
        unit = torch.nn.functional.normalize(network(voices).detach())
        cosines, same = unit @ unit.T, labels[:, None] == labels
        return (cosines[same].mean() - cosines[~same].mean()).item()

    before = separation()
    for _ in range(30):
        optimizer.zero_grad()
        embeddings = network(voices)
        call(loss, classifier(embeddings), labels, embeddings).backward()
        optimizer.step()
    assert separation() > before + 0.1


@pytest.mark.parametrize("name", WITH_MARGIN)
def test_a_margin_scheduler_moves_every_margin(name):
    loss = build(name)
    batch = inputs(loss)
    scheduler = MarginScheduler(
        loss, steps_per_epoch=10, increase_start_epoch=1, fix_epoch=3, initial_margin=0.1, final_margin=0.3
    )
    values = []
    for step in (0, 15, 30):
        scheduler.step(step)
        assert loss.margin == scheduler.margin
        values.append(call(loss, *batch).item())
        assert values[-1] == call(build(name, {"margin": loss.margin}), *batch).item()
    assert len(set(values)) == 3


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(LOSSES.get(name), "trains_classifier")])
def test_accuracy_of_what_is_compared_within_the_batch(name):
    loss = build(name)
    apart = torch.eye(4).repeat_interleave(3, 0)
    labels = torch.arange(4).repeat_interleave(3)
    assert loss.accuracy(apart, labels) == 1
    assert loss.accuracy(apart, torch.arange(12) % 4) < 0.5
