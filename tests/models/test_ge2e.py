"""The LSTM d-vector against Resemblyzer's own outputs and against its windows taken one by one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mvector import zoo
from mvector.errors import ConfigError, TooShortError
from mvector.models.ge2e import GE2E, LSTMLayers
from tests.golden_models import fill

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "recipes.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def entries() -> dict[str, torch.Tensor]:
    """The weights of the recording: keys and shapes of Resemblyzer's VoiceEncoder."""
    shapes = {"linear.weight": (256, 256), "linear.bias": (256,)}
    for layer, inputs in enumerate((40, 256, 256)):
        shapes |= {f"lstm.weight_ih_l{layer}": (1024, inputs), f"lstm.weight_hh_l{layer}": (1024, 256)}
        shapes |= {f"lstm.bias_ih_l{layer}": (1024,), f"lstm.bias_hh_l{layer}": (1024,)}
    return {key: torch.from_numpy(fill(key, shape)) for key, shape in shapes.items()}


def test_parameters_and_embedding_are_the_published_ones(recorded, entries):
    model = zoo.from_published(entries, "resemblyzer", "VoiceEncoder")
    assert sum(p.numel() for p in model.parameters()) == 1_423_616
    expected = torch.from_numpy(recorded["resemblyzer_embedding"])
    with torch.inference_mode():
        embedding = model(torch.from_numpy(recorded["resemblyzer_features"]))
    assert (embedding - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", ["wave_1", "wave_2", "wave_2_two_seconds", "wave_2_quiet"])
def test_windows_give_the_published_embedding_of_an_utterance(name, recorded, entries):
    model = GE2E(40, window_frames=160).eval()
    model.load_state_dict(entries)
    expected = torch.from_numpy(recorded[f"resemblyzer_utterance__{name}"])
    with torch.inference_mode():
        embedding = model(torch.from_numpy(recorded[f"resemblyzer_mel__{name}"])[None])[0]
    assert (embedding - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize(("frames", "windows"), [(10, 1), (13, 1), (14, 2), (17, 2), (18, 3), (60, 13)])
def test_windows_are_whole_and_evenly_spaced(frames, windows):
    torch.manual_seed(0)
    model = GE2E(8, embd_dim=6, hidden_size=5, layers=2, window_frames=10, window_shift=4)
    whole = GE2E(8, embd_dim=6, hidden_size=5, layers=2)
    whole.load_state_dict(model.state_dict())
    features = torch.randn(3, frames, 8)
    parts = [whole(features[:, start : start + 10]) for start in range(0, 4 * windows, 4)]
    expected = nn.functional.normalize(torch.stack(parts).mean(0), dim=1)
    torch.testing.assert_close(model(features), expected)


def test_fewer_frames_than_a_window_are_refused():
    model = GE2E(8, embd_dim=6, hidden_size=5, window_frames=10)
    with pytest.raises(TooShortError, match="GE2E needs at least 10 frames, found 9"):
        model(torch.randn(1, 9, 8))


def test_the_layers_are_those_of_torch():
    torch.manual_seed(0)
    ours = LSTMLayers(7, 5, 3)
    reference = nn.LSTM(7, 5, 3, batch_first=True)
    reference.load_state_dict(ours.state_dict())
    x = torch.randn(2, 20, 7)
    torch.testing.assert_close(ours(x), reference(x)[0])


def test_embeddings_have_unit_length_and_nothing_negative():
    embeddings = GE2E(8, embd_dim=32, hidden_size=16)(torch.randn(5, 20, 8))
    assert embeddings.min() >= 0
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(5))


@pytest.mark.parametrize("arguments", [{"window_frames": 0}, {"window_frames": 160, "window_shift": 0}])
def test_windows_of_no_frames_are_refused(arguments):
    with pytest.raises(ConfigError, match="must be at least 1 frame"):
        GE2E(8, **arguments)
