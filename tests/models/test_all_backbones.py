"""What every registered backbone promises."""

import copy
import re

import pytest
import torch

from mvector.errors import TooShortError
from mvector.registry import BACKBONES

BINS = 80
# Small members of the families, so that the whole registry is quick to test; one that is not named here is tested at
# its default size.
SMALL = {
    "CAMPPlus": {"growth_rate": 4, "bn_size": 2, "init_channels": 16},
    "EcapaTdnn": {"channels": (16, 16, 16, 16, 32), "attention_channels": 8, "se_channels": 8},
    "EcapaTdnnGlob": {"channels": 16, "mfa_channels": 24, "pooling_args": {"bottleneck_dim": 8}},
    "ReDimNet": {"size": "B0"},
    "TDNN": {"channels": 16, "pooling_args": {"attention_channels": 8}},
    "XVector": {"channels": 16, "stats_channels": 24},
    "GE2E": {"hidden_size": 16, "layers": 2},
    "ResCNN": {"channels": (4, 4, 8, 8)},
    "DeepSpeakerGRU": {"hidden_size": 16},
    "PANNS_CNN": {"depth": 14, "channels": 4},
    "ERes2Net": {"m_channels": 4, "num_blocks": (1, 1, 2, 1), "scale": 3},
    "ERes2NetV2": {"m_channels": 4, "num_blocks": (1, 1, 2, 1), "scale": 3},
    "Res2Net": {"m_channels": 4, "layers": (1, 2, 1, 1), "scale": 3},
    "Res2Net34": {"m_channels": 4, "num_blocks": (1, 1, 2, 1), "scale": 3},
    "ResNet": {"depth": 18, "m_channels": 4},
    "SimAMResNet": {"m_channels": 4},
    "ResNetSE": {"layers": (1, 2, 1, 1), "num_filters": (8, 16, 16, 16)},
}
pytestmark = pytest.mark.parametrize("name", BACKBONES.names())


def small(name: str, **arguments) -> torch.nn.Module:
    torch.manual_seed(0)
    return BACKBONES.build(name, {**SMALL.get(name, {}), "embd_dim": 12, **arguments}, input_size=BINS)


@pytest.fixture(scope="module")
def built():
    """A small member of each family in evaluation mode, with batch-norm statistics other than the initial ones."""
    models: dict[str, torch.nn.Module] = {}

    def get(name: str) -> torch.nn.Module:
        if name not in models:
            model = small(name).train()
            with torch.no_grad():
                model(torch.randn(4, 60, BINS))
            models[name] = model.eval()
        return models[name]

    return get


def edge_lengths(model: torch.nn.Module) -> list[int]:
    return sorted({model.min_frames, model.min_frames + 1, 7, 50, 199, 1000} - set(range(model.min_frames)))


def test_small_members_are_registered(name):
    assert set(SMALL) <= set(BACKBONES.names())


def test_forward_and_backward_are_finite_at_every_length(name, built):
    model = copy.deepcopy(built(name)).train()
    for frames in edge_lengths(model):
        features = torch.randn(3, frames, BINS, requires_grad=True)
        embeddings = model(features)
        assert embeddings.shape == (3, model.embd_dim) == (3, 12)
        assert embeddings.dtype == torch.float32
        model.zero_grad(set_to_none=True)
        (embeddings * torch.randn_like(embeddings)).sum().backward()
        assert embeddings.isfinite().all(), frames
        assert features.grad.isfinite().all(), frames
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None, f"{key} is not used"
            assert parameter.grad.isfinite().all(), (frames, key)


def test_one_utterance_at_every_length(name, built):
    model = built(name)
    with torch.inference_mode():
        for frames in edge_lengths(model):
            embedding = model(torch.randn(1, frames, BINS))
            assert embedding.shape == (1, 12)
            assert embedding.isfinite().all(), frames


def test_fewer_frames_than_the_minimum_are_refused(name, built):
    model = built(name)
    assert 1 <= model.min_frames <= 10
    with pytest.raises(TooShortError, match=f"{name} needs at least {model.min_frames} frames"):
        model(torch.randn(2, model.min_frames - 1, BINS))


def test_another_number_of_bins(name):
    model = BACKBONES.build(name, {**SMALL.get(name, {}), "embd_dim": 24}, input_size=40).eval()
    with torch.inference_mode():
        assert model(torch.randn(2, 30, 40)).shape == (2, model.embd_dim) == (2, 24)


def test_silence_gives_finite_embeddings_and_gradients(name, built):
    model = copy.deepcopy(built(name)).train()
    embeddings = model(torch.zeros(3, 30, BINS))
    embeddings.sum().backward()
    assert embeddings.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("frames", [37, 230])
def test_an_embedding_does_not_depend_on_the_batch(name, built, frames):
    model = built(name)
    features = torch.randn(4, frames, BINS)
    with torch.inference_mode():
        batch = model(features)
        alone = torch.cat([model(row.unsqueeze(0)) for row in features])
    assert (batch - alone).abs().max() <= 1e-5 * alone.abs().max()


def test_gradients_are_those_of_finite_differences(name, built):
    model = copy.deepcopy(built(name)).double()
    features = torch.randn(2, max(model.min_frames, 9), BINS, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, (features,), eps=1e-7, atol=1e-4, rtol=1e-3, fast_mode=True)


def test_the_same_seed_gives_the_same_network(name, built):
    first, second = small(name).eval(), small(name).eval()
    features = torch.randn(2, 40, BINS)
    with torch.inference_mode():
        assert torch.equal(first(features), second(features))
        assert torch.equal(first(features), first(features))


def test_evaluation_changes_nothing_and_training_moves_the_statistics(name, built):
    model = copy.deepcopy(built(name))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    features = torch.randn(3, 40, BINS)
    with torch.no_grad():
        model(features)
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        model.train()(features)
    moved = [key for key, value in model.named_buffers() if not torch.equal(value, before[key])]
    assert moved or not any("running_mean" in key for key in before)


def test_state_dict_round_trip(name, built):
    model = built(name)
    torch.manual_seed(1)
    other = BACKBONES.build(name, {**SMALL.get(name, {}), "embd_dim": 12}, input_size=BINS).eval()
    other.load_state_dict(model.state_dict())
    features = torch.randn(1, 50, BINS)
    with torch.inference_mode():
        assert torch.equal(model(features), other(features))


def test_bfloat16_autocast_stays_close(name, built):
    model = built(name)
    features = torch.randn(2, 60, BINS)
    with torch.inference_mode():
        exact = model(features)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(features).float()
    assert torch.cosine_similarity(exact, rounded).min() > 0.99


def test_bfloat16_autocast_trains(name, built):
    model = copy.deepcopy(built(name)).train()
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = model(torch.randn(3, 30, BINS))
    embeddings.float().square().sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.slow
def test_compiles_without_graph_breaks(name, built):
    model = built(name)
    features = torch.randn(2, 40, BINS)
    torch.compiler.reset()
    with torch.inference_mode():
        compiled = torch.compile(model, backend="eager", fullgraph=True)(features)
        torch.testing.assert_close(compiled, model(features), rtol=1e-4, atol=1e-5)


def test_docstring_names_paper_and_parameters(name):
    text = BACKBONES.get(name).__doc__
    assert re.search(r"\b(19|20)\d\d\b", text), "the paper's year"
    with torch.device("meta"):
        count = sum(p.numel() for p in BACKBONES.build(name, input_size=BINS).parameters())
    assert f"{count:,}" in text
