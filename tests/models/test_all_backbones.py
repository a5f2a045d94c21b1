"""What every registered backbone promises."""

import copy
import re

import pytest
import torch

from mvector.errors import TooShortError
from mvector.registry import BACKBONES

BINS = 80
pytestmark = pytest.mark.parametrize("name", BACKBONES.names())


@pytest.fixture(scope="module")
def built():
    """Each backbone once, with batch-norm statistics that differ from the initial ones."""
    models: dict[str, torch.nn.Module] = {}

    def get(name: str) -> torch.nn.Module:
        if name not in models:
            torch.manual_seed(0)
            model = BACKBONES.build(name, input_size=BINS).train()
            with torch.no_grad():
                model(torch.randn(4, 60, BINS))
            models[name] = model.eval()
        return models[name]

    return get


def test_forward_and_backward_are_finite(name, built):
    model = copy.deepcopy(built(name)).train()
    features = torch.randn(3, 40, BINS, requires_grad=True)
    embeddings = model(features)
    assert embeddings.shape == (3, model.embd_dim)
    assert embeddings.dtype == torch.float32
    (embeddings * torch.randn_like(embeddings)).sum().backward()
    assert features.grad.isfinite().all()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


def test_embd_dim_is_configurable(name):
    model = BACKBONES.build(name, {"embd_dim": 24}, input_size=40).eval()
    with torch.inference_mode():
        assert model(torch.randn(2, 30, 40)).shape == (2, model.embd_dim) == (2, 24)


def test_shortest_input_is_finite_and_a_shorter_one_is_refused(name, built):
    model = built(name)
    with torch.inference_mode():
        assert model(torch.randn(2, model.min_frames, BINS)).isfinite().all()
        with pytest.raises(TooShortError, match=f"{name} needs at least {model.min_frames} frames"):
            model(torch.randn(2, model.min_frames - 1, BINS))


def test_training_on_the_shortest_input_gives_finite_gradients(name, built):
    model = copy.deepcopy(built(name)).train()
    model(torch.randn(4, model.min_frames, BINS)).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


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


def test_state_dict_round_trip(name, built):
    model = built(name)
    other = BACKBONES.build(name, input_size=BINS).eval()
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


def test_docstring_names_paper_and_parameters(name, built):
    text = BACKBONES.get(name).__doc__
    assert re.search(r"\b(19|20)\d\d\b", text), "the paper's year"
    count = sum(p.numel() for p in built(name).parameters())
    assert f"{count:,}" in text
