"""Every recorded case of torchaudio and kaldi-native-fbank, alone and in a batch of different lengths."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mvector.features import AudioFeaturizer

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = json.loads((GOLDEN / "features.json").read_text(encoding="utf-8"))["cases"]

pytestmark = pytest.mark.filterwarnings("ignore:.*f_max 14000 Hz")


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "features.npz") as file:
        return dict(file)


def featurizer(case: dict) -> AudioFeaturizer:
    return AudioFeaturizer(case["method"], case["args"], case["waveform_scale"], mean_norm=False)


def assert_agrees(case: dict, features: torch.Tensor, reference: np.ndarray) -> None:
    assert list(features.shape) == case["shape"]
    difference = np.abs(features.numpy() - reference).max()
    logarithmic = case["method"] in ("Fbank", "MFCC")
    assert difference <= (1e-3 if logarithmic else 1e-4 * np.abs(reference).max())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["key"])
def test_alone(case, arrays):
    features, frames = featurizer(case)(torch.from_numpy(arrays[case["waveform"]])[None])
    assert frames.tolist() == case["shape"][:1]
    assert frames.dtype == torch.int64
    assert_agrees(case, features[0], arrays[case["key"]])


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["key"])
def test_in_a_batch_of_different_lengths(case, together, arrays, monkeypatch):
    module = featurizer(case)
    if together:  # the way a GPU goes
        monkeypatch.setattr(module.feature, "_one_by_one", module.feature._together)
    waveform = torch.from_numpy(arrays[case["waveform"]])
    batch = torch.randn(3, 40000, generator=torch.Generator().manual_seed(1))
    batch[1, : len(waveform)] = waveform
    features, frames = module(batch, torch.tensor([40000, len(waveform), 9000]))
    assert frames[1] == case["shape"][0]
    assert_agrees(case, features[1, : frames[1]], arrays[case["key"]])
    assert features[1, frames[1] :].abs().sum() == 0
