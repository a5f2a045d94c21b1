"""The sharded classifier against the ordinary one, and its sample of speakers against plain formulas."""

import math

import pytest
import torch
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.losses import AAMLoss, AMLoss, SpeakerClassifier
from mvector.losses.partial_fc import PartialFC
from mvector.training.ranks import gather_rows
from tests.training.two_ranks import run_ranks

SPEAKERS, SIZE = 11, 6
LOSSES = {"AAM": lambda: AAMLoss(0.3, 16), "AAM, easy": lambda: AAMLoss(0.2, 32, True), "AM": lambda: AMLoss(0.2, 30)}


def batch(examples: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(examples)
    return torch.randn(examples, SIZE, generator=generator), torch.randint(SPEAKERS, (examples,), generator=generator)


def partial_fc(sample_rate: float = 1.0, seed: int = 0) -> PartialFC:
    torch.manual_seed(7)
    return PartialFC(SIZE, SPEAKERS, sample_rate, seed)


def trained(classifier: PartialFC, optimizer: torch.optim.Optimizer, own: slice, steps: range) -> torch.Tensor:
    """All vectors after some steps with AAMLoss; of the joined batch a rank takes the part `own`."""
    for step in steps:
        embeddings, labels = batch(9 + step)
        loss, _ = classifier(embeddings[own], labels[own], AAMLoss(0.2, 16), step)
        (loss * len(labels[own]) / len(labels)).backward()
        classifier.fetch(optimizer)
        optimizer.step()
        classifier.store(optimizer)
        optimizer.zero_grad(set_to_none=True)
    return gather_rows(classifier.rows)


def adam(classifier: PartialFC) -> torch.optim.Optimizer:
    return torch.optim.AdamW([classifier.weight], 0.05, weight_decay=0.1)


def in_one_rank(number: int) -> dict:
    results: dict = {}
    for name, make_loss in LOSSES.items():
        classifier = partial_fc()
        embeddings, labels = batch()
        own = slice(None, 5) if number == 0 else slice(5, None)
        x = embeddings[own].clone().requires_grad_()
        loss, right = classifier(x, labels[own], make_loss(), 0)
        weighted = loss * len(x) / len(embeddings)
        weighted.backward()
        results[name] = {
            "loss": float(gather_rows(weighted.detach()[None]).sum()),
            "right": int(gather_rows(right[None]).sum()),
            "embeddings": gather_rows(x.grad),
            "weight": gather_rows(classifier.weight.grad),
        }
    own = slice(None, 4) if number == 0 else slice(4, None)
    classifier = partial_fc(0.6, seed=3)
    optimizer = adam(classifier)
    trained(classifier, optimizer, own, range(4))
    state = classifier.gathered_state(optimizer)
    unbroken = trained(classifier, optimizer, own, range(4, 7))
    (shared,) = [s for s in [state, *[None] * number] if s is not None] if number == 0 else [None]
    box = [shared]
    torch.distributed.broadcast_object_list(box)
    again = partial_fc(0.6, seed=3)
    other = adam(again)
    other.load_state_dict(optimizer.state_dict() | {"state": {0: {"step": torch.tensor(4.0)}}})
    again.restore(box[0], other)
    results["unbroken"], results["resumed"] = unbroken, trained(again, other, own, range(4, 7))
    whole = again.gathered()
    results["gathered"] = None if whole is None else whole.state_dict()["weight"]
    results["state"] = state
    return results


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    return run_ranks(in_one_rank, tmp_path_factory.mktemp("ranks"))


def ordinary(make_loss) -> dict:
    """Loss, right answers and gradients of SpeakerClassifier with the same vectors."""
    torch.manual_seed(7)
    classifier = SpeakerClassifier(SIZE, SPEAKERS)
    embeddings, labels = batch()
    x = embeddings.clone().requires_grad_()
    logits = classifier(x)
    loss = make_loss()(logits, labels)
    loss.backward()
    right = int((logits.argmax(1) == labels).sum())
    return {"loss": loss.item(), "right": right, "embeddings": x.grad, "weight": classifier.weight.grad}


def assert_same(result: dict, expected: dict) -> None:
    assert result["loss"] == pytest.approx(expected["loss"], rel=1e-6)
    assert result["right"] == expected["right"]
    for key in ("embeddings", "weight"):
        torch.testing.assert_close(result[key], expected[key], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_two_ranks_equal_the_ordinary_classifier_on_the_joined_batch(found, name):
    for of_rank in found:
        assert_same(of_rank[name], ordinary(LOSSES[name]))


@pytest.mark.slow
def test_two_ranks_resume_exactly_from_what_the_first_gathered(found):
    first, second = found
    assert torch.equal(first["unbroken"], first["resumed"])
    assert torch.equal(first["gathered"], first["resumed"])
    assert second["gathered"] is None
    assert second["state"] == {}
    assert {name: tuple(values.shape) for name, values in first["state"].items()} == dict.fromkeys(
        ("weight", "exp_avg", "exp_avg_sq"), (SPEAKERS, SIZE)
    )


@pytest.mark.slow
def test_one_process_goes_on_from_the_state_of_two(found):
    classifier = partial_fc(0.6)
    optimizer = adam(classifier)
    classifier.restore(found[0]["state"], optimizer)
    assert torch.equal(classifier.rows, found[0]["state"]["weight"])


@pytest.mark.parametrize("name", LOSSES)
def test_one_process_equals_the_ordinary_classifier(name):
    classifier = partial_fc()
    embeddings, labels = batch()
    x = embeddings.clone().requires_grad_()
    loss, right = classifier(x, labels, LOSSES[name](), 0)
    loss.backward()
    result = {"loss": loss.item(), "right": int(right), "embeddings": x.grad, "weight": classifier.weight.grad}
    assert_same(result, ordinary(LOSSES[name]))


def test_right_answers_are_counted():
    classifier = partial_fc()
    labels = torch.arange(SPEAKERS)
    _, right = classifier(classifier.rows[labels], labels, AAMLoss(), 0)
    assert int(right) == SPEAKERS
    _, right = classifier(classifier.rows[labels], labels.roll(1), AAMLoss(), 0)
    assert int(right) == 0


def sampled_rows(classifier: PartialFC) -> torch.Tensor:
    return classifier._sampled[-1][0]


def test_the_loss_is_the_softmax_over_the_sample_and_everybody_in_the_batch_is_in_it():
    classifier = partial_fc(0.5, seed=4)
    embeddings, labels = batch(4)
    loss, _ = classifier(embeddings, labels, AAMLoss(0.2, 16), 8)
    rows = sampled_rows(classifier).tolist()
    assert len(rows) == math.ceil(0.5 * SPEAKERS)
    assert set(labels.tolist()) <= set(rows)
    cosines = functional.normalize(embeddings) @ functional.normalize(classifier.rows[rows]).T
    places = torch.tensor([rows.index(label) for label in labels.tolist()])
    assert loss.item() == pytest.approx(AAMLoss(0.2, 16)(cosines, places).item(), rel=1e-6)


def test_more_speakers_in_the_batch_than_the_rate_allows_are_all_taken():
    classifier = partial_fc(0.1)
    classifier(torch.randn(8, SIZE), torch.arange(8), AAMLoss(), 0)
    assert sampled_rows(classifier).tolist() == list(range(8))


def test_the_sample_is_a_function_of_seed_and_step():
    def rows(seed: int, step: int) -> list[int]:
        classifier = partial_fc(0.5, seed)
        torch.manual_seed(step + 99)
        classifier(torch.randn(2, SIZE), torch.tensor([0, 1]), AAMLoss(), step)
        return sampled_rows(classifier).tolist()

    assert rows(1, 5) == rows(1, 5)
    assert len({tuple(rows(1, step)) for step in range(20)}) > 10
    assert len({tuple(rows(seed, 5)) for seed in range(20)}) > 10
    assert {row for step in range(60) for row in rows(0, step)} == set(range(SPEAKERS))


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "fused Adam": lambda p: torch.optim.Adam(p, 0.01, fused=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_sampled_speakers_and_their_state_change(name):
    """Against a row-by-row optimiser: one for each speaker, stepped when that speaker is in the sample."""
    classifier = partial_fc(0.4, seed=1)
    optimizer = OPTIMIZERS[name]([classifier.weight])
    rows = [row.clone().requires_grad_() for row in classifier.rows]
    single = [OPTIMIZERS[name]([row]) for row in rows]
    for step in range(6):
        embeddings, labels = batch(3 + step)
        loss, _ = classifier(embeddings, labels, AMLoss(0.2, 8), step)
        loss.backward()
        sample = sampled_rows(classifier).tolist()
        vectors = torch.stack([rows[row] for row in sample])
        cosines = functional.normalize(embeddings) @ functional.normalize(vectors).T
        AMLoss(0.2, 8)(cosines, torch.tensor([sample.index(label) for label in labels.tolist()])).backward()
        for row in sample:
            for state in single[row].state.values():
                if "step" in state:
                    state["step"].fill_(step)  # all speakers' steps are counted together
            if not single[row].state and name == "fused Adam" and step:
                single[row].state[rows[row]] = {
                    "step": torch.tensor(float(step)),
                    "exp_avg": torch.zeros(SIZE),
                    "exp_avg_sq": torch.zeros(SIZE),
                }
            single[row].step()
            single[row].zero_grad()
        classifier.fetch(optimizer)
        optimizer.step()
        classifier.store(optimizer)
        optimizer.zero_grad(set_to_none=True)
        torch.testing.assert_close(classifier.rows, torch.stack([row.detach() for row in rows]), rtol=1e-5, atol=1e-6)


def test_gradients_of_several_batches_make_one_step():
    together = partial_fc(0.5, seed=2)
    parts = {}
    for step in (0, 1):
        alone = partial_fc(0.5, seed=2)
        embeddings, labels = batch(4 + step)
        for classifier in (alone, together):
            classifier(embeddings, labels, AAMLoss(), step)[0].backward()
        index, vectors = alone._sampled[0]
        parts[step] = torch.zeros(SPEAKERS, SIZE).index_add(0, index, vectors.grad)
    together.fetch(torch.optim.SGD([together.weight], 1.0))
    whole = torch.zeros(SPEAKERS, SIZE).index_copy(0, together._fetched, together.weight.grad)
    torch.testing.assert_close(whole, parts[0] + parts[1])


def test_half_precision_is_computed_in_float32():
    classifier = partial_fc()
    embeddings, labels = batch()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = classifier(embeddings, labels, AAMLoss(), 0)
    torch.testing.assert_close(loss, classifier(embeddings, labels, AAMLoss(), 0)[0], rtol=0, atol=0)


def test_wrong_arguments(monkeypatch):
    for rate in (0, 1.5):
        with pytest.raises(ConfigError, match=f"sample_rate must be over 0 and at most 1, found {rate}"):
            PartialFC(4, 10, rate)
    monkeypatch.setattr("mvector.losses.partial_fc.world_size", lambda: 3)
    with pytest.raises(ConfigError, match="a classifier of 2 speakers cannot be shared out among 3 processes"):
        PartialFC(4, 2)
