"""The features of SpeechBrain and Resemblyzer against those that their own code gave (tests/golden/recipes.npz)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mvector.errors import ConfigError
from mvector.features import AudioFeaturizer
from mvector.features.resemblyzer_mel import ResemblyzerMel
from mvector.features.speechbrain_fbank import SpeechBrainFbank

GOLDEN = Path(__file__).parents[1] / "golden"
ways = pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "recipes.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def waveforms() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "features.npz") as file:
        first, second = file["wave_1"], file["wave_2"]
    click = 1e-6 * first
    click[8000] = 1.0
    return {
        "wave_1": first,
        "wave_2": second,
        "click": click.astype(np.float32),
        "wave_2_two_seconds": second[:32000],
        "wave_2_quiet": (0.003 * second).astype(np.float32),
    }


def of_one(method: str, arguments: dict, waveform: np.ndarray, together: bool) -> np.ndarray:
    """Features of `waveform`, computed as a row of a batch with longer and shorter ones."""
    module = AudioFeaturizer(method, arguments, mean_norm=False)
    if together:  # the way a GPU goes
        module.feature._one_by_one = module.feature._together
    batch = torch.randn(3, 50000, generator=torch.Generator().manual_seed(1))
    batch[1, : len(waveform)] = torch.from_numpy(waveform)
    features, frames = module(batch, torch.tensor([50000, len(waveform), 9000]))
    assert not features[1, frames[1] :].any()
    return features[1, : frames[1]].numpy()


@ways
@pytest.mark.parametrize("name", ["wave_1", "wave_2", "click"])
def test_speechbrain(name, together, recorded, waveforms):
    expected = recorded[f"speechbrain_fbank80__{name}"]
    if name == "click":
        assert (expected == expected.min()).mean() > 0.9  # there the 80 dB decide
    features = of_one("SpeechBrainFbank", {"n_mels": 80}, waveforms[name], together)
    assert features.shape == expected.shape
    assert np.abs(features - expected).max() <= 1e-3


def test_speechbrain_with_other_arguments(recorded, waveforms):
    arguments = {"sample_rate": 8000, "n_mels": 24, "n_fft": 256, "win_length": 20, "f_min": 100, "f_max": 3500}
    expected = recorded["speechbrain_fbank24_8k__wave_2"]
    features = of_one("SpeechBrainFbank", arguments, waveforms["wave_2"], False)
    assert features.shape == expected.shape
    assert np.abs(features - expected).max() <= 1e-3


@ways
@pytest.mark.parametrize("name", ["wave_1", "wave_2", "wave_2_two_seconds", "wave_2_quiet"])
def test_resemblyzer(name, together, recorded, waveforms):
    expected = recorded[f"resemblyzer_mel__{name}"]
    features = of_one("ResemblyzerMel", {}, waveforms[name], together)
    assert features.shape == expected.shape
    assert np.abs(features - expected).max() <= 1e-4 * expected.max()


def windows_of(samples: int) -> int:
    """Resemblyzer's windows, one after the other: 25,600 samples long, one every 12,320."""
    count = 1
    while 12320 * (count - 1) + 25600 <= samples:  # the last one is full, so there may be another
        count += 1
    rest = samples - 12320 * (count - 1)
    return count if count == 1 or rest >= 0.75 * 25600 else count - 1


def test_the_frames_fit_the_windows():
    feature = ResemblyzerMel()
    around = [edge + step for edge in (25600, 12320 + 19200, 24640 + 19200, 37920) for step in (-1, 0, 1)]
    for samples in (1, 100, 16000, *around, 200000, 320000):
        assert int(feature.frame_count(torch.tensor(samples))) == 160 + 77 * (windows_of(samples) - 1), samples


def test_only_a_quiet_recording_is_raised():
    waveform = torch.randn(1, 30000, generator=torch.Generator().manual_seed(2))
    waveform /= waveform.square().mean().sqrt()  # 0 dB
    feature = ResemblyzerMel()
    loud, at_the_level, quiet = (feature(waveform * 10 ** (db / 20))[0] for db in (-10.0, -30.0, -62.0))
    assert torch.allclose(loud, 100.0 * at_the_level, rtol=1e-4)  # 20 dB more
    assert torch.allclose(quiet, at_the_level, rtol=1e-4)
    assert not feature(torch.zeros(1, 30000))[0].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_mels": 0}, "n_mels must be a whole number of at least 1"),
        ({"f_max": 9000.0}, "f_min 0.0 and f_max 9000.0 must give 0 <= f_min < f_max <= 8000 Hz"),
        ({"win_length": 30.0}, "win_length 480 must not exceed n_fft 400"),
        ({"hop_length": "ten"}, "hop_length must be a number, found 'ten'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=f"SpeechBrainFbank: {message}"):
        SpeechBrainFbank(**arguments)
