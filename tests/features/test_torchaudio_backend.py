"""backend='torchaudio': its absence, in each way that a build for another torch fails, and live agreement."""

import sys
from importlib import import_module

import pytest
import torch

from mvector.errors import ConfigError, MissingPackageError
from mvector.features import AudioFeaturizer

try:
    import_module("torchaudio.compliance.kaldi")
    present = True
except Exception:  # a build for another torch raises OSError or RuntimeError
    present = False

needs_torchaudio = pytest.mark.skipif(not present, reason="torchaudio cannot be imported")


class Broken:
    """Stands for `import torchaudio` failing with `error`."""

    def __init__(self, error: Exception):
        self.error = error

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torchaudio":
            raise self.error


@pytest.mark.parametrize(
    "error", [ImportError("none"), OSError("libc10_cuda.so: cannot open"), RuntimeError("operator does not exist")]
)
def test_any_failure_to_import_counts_as_absent(error, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(error), *sys.meta_path])
    assert AudioFeaturizer("Fbank", {"num_mel_bins": 80})(torch.zeros(1, 800))[0].shape == (1, 3, 80)
    with pytest.raises(MissingPackageError, match=r"backend: torchaudio needs .*torchaudio==2\.\d+.*backend: native"):
        AudioFeaturizer("Fbank", {"num_mel_bins": 80}, backend="torchaudio")


def test_a_feature_that_torchaudio_has_not(monkeypatch):
    class OwnFeature(torch.nn.Module):
        feature_size, sample_rate_hz, min_samples = 1, 16000, 1

    monkeypatch.setattr("mvector.features.OwnFeature", OwnFeature, raising=False)
    with pytest.raises(ConfigError, match=r"backend torchaudio has no feature 'mvector\.features\.OwnFeature'"):
        AudioFeaturizer("mvector.features.OwnFeature", backend="torchaudio")


def test_arguments_are_checked_before_torchaudio_is_needed():
    with pytest.raises(ConfigError, match="Did you mean 'num_mel_bins'"):
        AudioFeaturizer("Fbank", {"num_mel_bin": 80}, backend="torchaudio")


@needs_torchaudio
@pytest.mark.filterwarnings("ignore:At least one mel filterbank has all zero values")
@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("Fbank", {"num_mel_bins": 80}),
        ("Fbank", {"num_mel_bins": 40, "use_energy": True, "htk_compat": True, "raw_energy": False}),
        ("Fbank", {"window_type": "blackman", "snip_edges": False, "frame_shift": 8.0}),
        ("Fbank", {"round_to_power_of_two": False, "use_power": False, "subtract_mean": True}),
        ("MelSpectrogram", {"n_fft": 512, "n_mels": 40, "norm": "slaney", "mel_scale": "slaney", "log": True}),
        ("MelSpectrogram", {"normalized": True, "pad": 10, "pad_mode": "constant", "power": 1.0}),
        ("Spectrogram", {"n_fft": 512, "win_length": 400, "hop_length": 160, "window_fn": "hamming_window"}),
        ("Spectrogram", {"normalized": "frame_length", "center": False}),
        ("MFCC", {"n_mfcc": 13, "norm": None, "melkwargs": {"n_mels": 40, "window_fn": "hamming_window"}}),
        ("MFCC", {"log_mels": True, "melkwargs": {"n_fft": 512, "n_mels": 64}}),
    ],
    ids=str,
)
def test_agrees_with_torchaudio(method, arguments):
    waveforms = 0.1 * torch.randn(3, 9000, generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([9000, 4000, 6001])
    for mean_norm in (True, False):
        ours = AudioFeaturizer(method, arguments, 32768.0, mean_norm)
        theirs = AudioFeaturizer(method, arguments, 32768.0, mean_norm, backend="torchaudio")
        assert not theirs.state_dict()
        features, frames = ours(waveforms, lengths)
        reference, reference_frames = theirs(waveforms, lengths)
        assert frames.tolist() == reference_frames.tolist()
        assert features.shape == reference.shape
        if method in ("Spectrogram", "MelSpectrogram") and not arguments.get("log"):
            tolerance = 1e-4 * reference.abs().max()
        else:  # without `norm` the DCT is ten times as large
            tolerance = 1e-2 if arguments.get("norm", "ortho") is None else 1e-3
        assert (features - reference).abs().max() <= tolerance
