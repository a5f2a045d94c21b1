"""Spectrogram, MelSpectrogram, MFCC against torch.stft in double precision, SciPy's DCT and their definitions."""

import numpy as np
import pytest
import scipy.fft
import torch

from mvector.errors import ConfigError
from mvector.features.mel import mel_filters
from mvector.features.spectral import LOG_FLOOR, MFCC, MelSpectrogram, Spectrogram

WAVEFORM = 0.1 * torch.randn(1, 5000, generator=torch.Generator().manual_seed(11))


def stft_power(waveform: torch.Tensor, n_fft=400, win=None, hop=None, power=2.0, window=torch.hann_window, **options):
    win = win or n_fft
    spectrum = torch.stft(
        waveform.double(),
        n_fft,
        hop or win // 2,
        win,
        window(win, dtype=torch.float64),
        return_complex=True,
        **options,
    )
    return spectrum[0].abs().pow(power).T.numpy()


@pytest.mark.parametrize(
    ("arguments", "reference"),
    [
        ({}, {}),
        ({"n_fft": 512, "win_length": 401, "hop_length": 160}, {"n_fft": 512, "win": 401, "hop": 160}),
        ({"n_fft": 401, "power": 1.0}, {"n_fft": 401, "power": 1.0}),
        ({"center": False, "power": 3}, {"center": False, "power": 3}),
        ({"pad_mode": "constant"}, {"pad_mode": "constant"}),
        ({"pad_mode": "replicate"}, {"pad_mode": "replicate"}),
        ({"normalized": "frame_length"}, {"normalized": True}),
        ({"window_fn": "hamming_window", "wkwargs": {"periodic": True}}, {"window": torch.hamming_window}),
        ({"window_fn": torch.blackman_window}, {"window": torch.blackman_window}),
    ],
    ids=lambda options: ",".join(options) or "defaults",
)
def test_spectrogram_options(arguments, reference):
    expected = stft_power(WAVEFORM, **reference)
    features, _ = Spectrogram(**arguments)(WAVEFORM)
    assert features.shape[1:] == expected.shape
    assert np.abs(features[0].numpy() - expected).max() <= 1e-5 * expected.max()


@pytest.mark.parametrize("normalized", [True, "window"])
def test_normalised_by_the_window(normalized):
    expected = stft_power(WAVEFORM) / torch.hann_window(400).double().square().sum().item()
    features, _ = Spectrogram(normalized=normalized)(WAVEFORM)
    assert np.abs(features[0].numpy() - expected).max() <= 1e-5 * expected.max()


def test_pad_adds_zeros_at_both_ends():
    features, _ = Spectrogram(pad=300)(WAVEFORM)
    expected, _ = Spectrogram()(torch.nn.functional.pad(WAVEFORM, (300, 300)))
    assert torch.equal(features, expected)


@pytest.mark.parametrize("feature", [Spectrogram, MelSpectrogram])
def test_log_is_the_floored_natural_logarithm(feature):
    linear, _ = feature()(WAVEFORM)
    logarithmic, _ = feature(log=True)(WAVEFORM)
    assert torch.equal(logarithmic, linear.clamp_min(LOG_FLOOR).log())
    assert feature(log=True)(torch.zeros(1, 800))[0].numpy() == pytest.approx(np.log(1e-10))


@pytest.mark.parametrize("mel", [{}, {"mel_scale": "slaney", "norm": "slaney"}, {"f_min": 60.0, "f_max": 7000.0}])
def test_mel_bands_are_weighted_sums_of_the_spectrum(mel):
    spectrum = stft_power(WAVEFORM, n_fft=512, hop=160)
    names = {"f_min": "low_hz", "f_max": "high_hz", "mel_scale": "scale", "norm": "norm"}
    options = {"low_hz": 0.0, "high_hz": 8000.0, **{names[key]: value for key, value in mel.items()}}
    expected = spectrum @ mel_filters(40, 257, 16000, **options)
    features, _ = MelSpectrogram(n_fft=512, hop_length=160, n_mels=40, **mel)(WAVEFORM)
    assert np.abs(features[0].numpy() - expected).max() <= 1e-5 * expected.max()


def test_f_max_above_half_the_rate_warns():
    with pytest.warns(UserWarning, match="f_max 14000 Hz lies above 8000 Hz"):
        features, _ = MelSpectrogram(f_max=14000.0, n_mels=64, n_fft=1024)(WAVEFORM)
    assert not features[:, :, -1].any()


@pytest.mark.parametrize("norm", ["ortho", None])
@pytest.mark.parametrize("log_mels", [False, True])
def test_mfcc_is_the_dct_of_log_bands(norm, log_mels):
    # A loud click in silence: most bands lie more than 80 dB below it, so that the clamp decides.
    waveform = 1e-6 * WAVEFORM
    waveform[0, 2000] = 1.0
    melkwargs = {"n_fft": 512, "hop_length": 160, "n_mels": 40}
    bands = MelSpectrogram(**melkwargs)(waveform)[0][0].double().numpy()
    if log_mels:
        logs = np.log(bands + 1e-6)
    else:
        logs = 10 * np.log10(np.maximum(bands, 1e-10))
        assert (logs < logs.max() - 80).mean() > 0.5
        logs = np.maximum(logs, logs.max() - 80)
    expected = scipy.fft.dct(logs, type=2, norm=norm, axis=1)[:, :13]
    features, _ = MFCC(n_mfcc=13, norm=norm, log_mels=log_mels, melkwargs=melkwargs)(waveform)
    assert np.abs(features[0].numpy() - expected).max() < 1e-3


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])
def test_mfcc_clamps_per_utterance(together):
    module = MFCC(melkwargs={"n_mels": 64})
    if together:
        module._one_by_one = module._together
    batch = torch.cat([WAVEFORM, 1e-4 * WAVEFORM])  # the second is 80 dB under the first
    features, _ = module(batch, torch.tensor([5000, 4000]))
    alone, frames = module(1e-4 * WAVEFORM[:, :4000])
    assert (features[1, : frames[0]] - alone[0]).abs().max() <= 1e-5 * alone.abs().max()


@pytest.mark.parametrize(
    ("feature", "arguments", "message"),
    [
        (Spectrogram, {"power": None}, "Spectrogram: power must be a number: the complex spectrum"),
        (Spectrogram, {"power": "2"}, "power must be a number, found '2'"),
        (Spectrogram, {"power": 0.0}, "power must be above zero"),
        (Spectrogram, {"onesided": False}, "onesided must be true"),
        (Spectrogram, {"n_fft": 0}, "n_fft must be a whole number of at least 1"),
        (Spectrogram, {"win_length": 512}, "win_length 512 must not exceed n_fft 400"),
        (Spectrogram, {"pad": -1}, "pad must be a whole number of samples"),
        (Spectrogram, {"pad_mode": "mirror"}, "unknown pad_mode 'mirror'; there are: reflect, constant, replicate"),
        (Spectrogram, {"normalized": "yes"}, "normalized must be true, false, 'window' or 'frame_length'"),
        (Spectrogram, {"window_fn": "hann"}, "unknown window_fn 'hann'.*Did you mean 'hann_window'"),
        (Spectrogram, {"window_fn": 3}, "window_fn must be a function or its name"),
        (Spectrogram, {"wkwargs": {"bta": 3}}, "window_fn cannot take wkwargs"),
        (Spectrogram, {"log": "no"}, "log must be true or false, found 'no'"),
        (MelSpectrogram, {"f_min": 9000.0}, "f_min 9000.0 and f_max 8000.0"),
        (MelSpectrogram, {"norm": "l2"}, "norm must be 'slaney' or null"),
        (MelSpectrogram, {"mel_scale": "bark"}, "unknown mel_scale 'bark'; there are: htk, slaney"),
        (MelSpectrogram, {"n_mels": 0}, "n_mels must be a whole number of at least 1"),
        (MelSpectrogram, {"sample_rate": "16k"}, "sample_rate must be a whole number"),
        (MFCC, {"dct_type": 3}, "dct_type must be 2"),
        (MFCC, {"norm": "slaney"}, "norm must be 'ortho' or null"),
        (MFCC, {"n_mfcc": 200}, "n_mfcc 200 must not exceed n_mels 128"),
        (MFCC, {"melkwargs": {"sample_rate": 8000}}, "melkwargs cannot hold 'sample_rate'"),
        (MFCC, {"melkwargs": {"n_mel": 80}}, "no argument 'n_mel'.*Did you mean 'n_mels'"),
    ],
)
def test_bad_arguments(feature, arguments, message):
    with pytest.raises(ConfigError, match=message):
        feature(**arguments)
