"""Fbank against Kaldi's definition written out frame by frame in double precision, for each of its options."""

import numpy as np
import pytest
import torch

from mvector.errors import ConfigError, TooShortError
from mvector.features.fbank import EPSILON, Fbank, kaldi_window

DEFAULTS = {
    "blackman_coeff": 0.42,
    "energy_floor": 1.0,
    "frame_length": 25.0,
    "frame_shift": 10.0,
    "high_freq": 0.0,
    "htk_compat": False,
    "low_freq": 20.0,
    "num_mel_bins": 23,
    "preemphasis_coefficient": 0.97,
    "raw_energy": True,
    "remove_dc_offset": True,
    "round_to_power_of_two": True,
    "sample_frequency": 16000,
    "snip_edges": True,
    "subtract_mean": False,
    "use_energy": False,
    "use_log_fbank": True,
    "use_power": True,
    "window_type": "povey",
}


def kaldi_fbank(waveform: np.ndarray, **options) -> np.ndarray:
    """Kaldi's feature-window.cc, mel-computations.cc and feature-fbank.cc, sample by sample."""
    o = {**DEFAULTS, **options}
    rate = o["sample_frequency"]
    window_size, shift = int(rate * o["frame_length"] / 1000), int(rate * o["frame_shift"] / 1000)
    size = 1
    while size < window_size:
        size *= 2
    size = size if o["round_to_power_of_two"] else window_size
    samples = len(waveform)
    if o["snip_edges"]:
        starts = range(0, samples - window_size + 1, shift)
    else:
        middles = [shift * f + shift // 2 for f in range((samples + shift // 2) // shift)]
        starts = [middle - window_size // 2 for middle in middles]
    a = 2 * np.pi / (window_size - 1)
    window = []
    for i in range(window_size):
        window.append(
            {
                "hanning": 0.5 - 0.5 * np.cos(a * i),
                "hamming": 0.54 - 0.46 * np.cos(a * i),
                "povey": np.maximum(0.5 - 0.5 * np.cos(a * i), 0) ** 0.85,
                "rectangular": 1.0,
                "blackman": o["blackman_coeff"] - 0.5 * np.cos(a * i) + (0.5 - o["blackman_coeff"]) * np.cos(2 * a * i),
            }[o["window_type"]]
        )
    rows = []
    for start in starts:
        frame = []
        for s in range(start, start + window_size):
            while not 0 <= s < samples:
                s = -s - 1 if s < 0 else 2 * samples - 1 - s
            frame.append(float(waveform[s]))
        frame = np.array(frame)
        if o["remove_dc_offset"]:
            frame = frame - frame.mean()
        energy = np.log(max((frame**2).sum(), EPSILON))
        for i in reversed(range(1, window_size)):
            frame[i] -= o["preemphasis_coefficient"] * frame[i - 1]
        frame[0] -= o["preemphasis_coefficient"] * frame[0]
        frame = frame * window
        if not o["raw_energy"]:
            energy = np.log(max((frame**2).sum(), EPSILON))
        if o["energy_floor"] > 0:
            energy = max(energy, np.log(o["energy_floor"]))
        spectrum = np.abs(np.fft.fft(frame, size)) ** (2 if o["use_power"] else 1)
        high = o["high_freq"] if o["high_freq"] > 0 else rate / 2 + o["high_freq"]
        mel_low, mel_high = (1127 * np.log(1 + f / 700) for f in (o["low_freq"], high))
        step = (mel_high - mel_low) / (o["num_mel_bins"] + 1)
        bands = []
        for band in range(o["num_mel_bins"]):
            left, centre, right = (mel_low + (band + k) * step for k in range(3))
            total = 0.0
            for i in range(size // 2):
                mel = 1127 * np.log(1 + i * rate / size / 700)
                if left < mel < right:
                    weight = (mel - left) / (centre - left) if mel <= centre else (right - mel) / (right - centre)
                    total += weight * spectrum[i]
            bands.append(np.log(max(total, EPSILON)) if o["use_log_fbank"] else total)
        if o["use_energy"]:
            bands = [*bands, energy] if o["htk_compat"] else [energy, *bands]
        rows.append(bands)
    rows = np.array(rows)
    return rows - rows.mean(0) if o["subtract_mean"] else rows


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_mel_bins": 80},
        {"window_type": "hanning"},
        {"window_type": "hamming", "preemphasis_coefficient": 0.0},
        {"window_type": "rectangular", "remove_dc_offset": False},
        {"window_type": "blackman", "blackman_coeff": 0.3},
        {"use_energy": True},
        {"use_energy": True, "htk_compat": True, "raw_energy": False},
        {"use_energy": True, "energy_floor": 0.0},
        {"use_energy": True, "energy_floor": 1e9},
        {"use_log_fbank": False},
        {"use_power": False},
        {"snip_edges": False},
        {"snip_edges": False, "frame_length": 31.0, "frame_shift": 7.0},
        {"snip_edges": False, "frame_length": 10.0, "frame_shift": 25.0},
        {"round_to_power_of_two": False},
        {"low_freq": 100.0, "high_freq": -500.0},
        {"low_freq": 0.0, "high_freq": 7000.0, "sample_frequency": 22050, "num_mel_bins": 40},
        {"sample_frequency": 8000.0, "subtract_mean": True},
    ],
    ids=str,
)
def test_options(options):
    rng = np.random.default_rng(5)
    waveform = (1000 * rng.standard_normal(1600) + 300).astype(np.float32)
    expected = kaldi_fbank(waveform, **options)
    features, frames = Fbank(**options).eval()(torch.from_numpy(waveform)[None])
    assert features.shape == (1, *expected.shape)
    assert frames.tolist() == [len(expected)]
    scale = 1.0 if options.get("use_log_fbank", True) else np.abs(expected).max()
    assert np.abs(features[0].numpy() - expected).max() <= 1e-3 * scale


@pytest.mark.parametrize("samples", [80, 100, 141, 199, 250])
def test_utterances_shorter_than_a_window_are_mirrored_as_often_as_it_takes(samples):
    waveform = (1000 * np.random.default_rng(6).standard_normal(samples)).astype(np.float32)
    features, _ = Fbank(snip_edges=False)(torch.from_numpy(waveform)[None])
    assert np.abs(features[0].numpy() - kaldi_fbank(waveform, snip_edges=False)).max() < 1e-3


def test_silence_falls_on_the_floor():
    features, _ = Fbank(use_energy=True, energy_floor=0.0)(torch.zeros(1, 800))
    assert features.numpy() == pytest.approx(np.log(EPSILON))


def test_dither_in_training_only():
    module = Fbank(dither=1.0)
    waveform = torch.zeros(1, 1600)
    assert torch.equal(module.eval()(waveform)[0], Fbank()(waveform)[0])
    torch.manual_seed(3)
    first, _ = module.train()(waveform)
    second, _ = module(waveform)
    torch.manual_seed(3)
    assert torch.equal(module(waveform)[0], first)
    assert not torch.equal(first, second)
    energy = Fbank(dither=10.0, use_energy=True, num_mel_bins=1)(torch.zeros(1, 160000))[0][0, :, 0]
    assert energy.exp().mean().item() == pytest.approx(400 * 100, rel=0.05)


def test_min_duration():
    module = Fbank(min_duration=0.5)
    assert module.min_samples == 8000
    assert module(torch.zeros(1, 8000))[0].shape[1] == 48
    with pytest.raises(TooShortError, match="7999 samples"):
        module(torch.zeros(1, 7999))


def test_povey_window_starts_at_zero_and_reaches_one():
    window = kaldi_window("povey", 401)
    assert window[0] == window[-1] == 0.0
    assert window[200] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"window_type": "hann"},
            "unknown window_type 'hann'; there are: hanning, hamming, povey",
        ),
        ({"window_type": "poevy"}, "Did you mean 'povey'"),
        ({"vtln_warp": 1.1}, "vtln_warp must be 1.0"),
        ({"channel": 1}, "channel must be -1 or 0"),
        ({"num_mel_bins": 0}, "num_mel_bins must be a whole number of at least 1, found 0"),
        ({"num_mel_bins": "80"}, "num_mel_bins must be a whole number of at least 1, found '80'"),
        ({"num_mel_bins": 80.0}, "num_mel_bins must be a whole number"),
        ({"dither": "1.0"}, "dither must be a number, found '1.0'"),
        ({"dither": -1.0}, "dither must not be negative"),
        ({"energy_floor": -1.0}, "energy_floor must not be negative"),
        ({"high_freq": 8001.0}, "low_freq 20.0 and high_freq 8001.0"),
        ({"low_freq": 8000.0}, "0 <= low < high <= 8000.0 Hz"),
        ({"sample_frequency": 0}, "low_freq"),
        ({"preemphasis_coefficient": 1.5}, "preemphasis_coefficient must lie between 0 and 1"),
        ({"frame_length": 0.1}, "frame_length 0.1 ms is under two samples"),
        ({"frame_shift": 0.0}, "frame_shift 0.0 ms is under one sample"),
        ({"frame_length": 25.07, "round_to_power_of_two": False}, "401 samples is odd"),
        ({"snip_edges": "no"}, "snip_edges must be true or false, found 'no'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Fbank(**arguments)
