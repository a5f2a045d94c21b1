"""SpeechBrain's log mel energies, for networks that were trained on them."""

import numpy as np
import torch
from torch import Tensor

from mvector.features.base import require, require_count, require_number, valid_frames
from mvector.features.mel import BandedFilters
from mvector.features.spectral import ShortTimeSpectrum
from mvector.registry import FEATURES

POWER_FLOOR = 1e-10  # −100 dB
TOP_DB = 80.0


def speechbrain_mel_filters(
    bins: int, spectrum_bins: int, sample_rate_hz: int, low_hz: float, high_hz: float
) -> np.ndarray:
    """SpeechBrain's filters [spectrum_bins, bins] float64: centres equally spaced in mels, 2595 log10(1 + f/700).

    Each is a triangle on the hertz axis as wide to the right as to the left, where its neighbour's centre lies; so it
    ends before the next centre, unlike those of torchaudio and Kaldi.
    """
    mels = np.linspace(2595.0 * np.log10(1.0 + low_hz / 700.0), 2595.0 * np.log10(1.0 + high_hz / 700.0), bins + 2)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    centres, widths = edges[1:-1], np.diff(edges)[:-1]
    frequency = np.linspace(0.0, sample_rate_hz // 2, spectrum_bins)[:, None]
    return np.maximum(0.0, 1.0 - np.abs(frequency - centres) / widths)


@FEATURES.register("SpeechBrainFbank")
class SpeechBrainFbank(ShortTimeSpectrum):
    """Log mel energies as SpeechBrain computes them (its lobes.features.Fbank, with the same argument names).

    forward(waveforms [B, T], lengths [B] or None) -> (features [B, F, n_mels], frames [B]); F = 1 + T // hop.
    In decibels, floored at −100 dB and 80 dB under the loudest value of the utterance. Frames are centred, with zeros
    around the utterance, under a periodic Hamming window.

    Frequencies in hertz, win_length and hop_length in milliseconds; f_max None is half the sample rate.
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        f_min: float = 0.0,
        f_max: float | None = None,
        n_fft: int = 400,
        n_mels: int = 40,
        win_length: float = 25.0,
        hop_length: float = 10.0,
    ):
        name = type(self).__name__
        require_count(name, sample_rate=sample_rate, n_mels=n_mels)
        f_max = sample_rate / 2 if f_max is None else f_max
        require_number(name, f_min=f_min, f_max=f_max, win_length=win_length, hop_length=hop_length)
        require(
            0 <= f_min < f_max <= sample_rate / 2,
            f"{name}: f_min {f_min} and f_max {f_max} must give 0 <= f_min < f_max <= {sample_rate / 2:g} Hz, half of "
            "sample_rate",
        )
        super().__init__(
            n_fft=n_fft,
            win_length=round(sample_rate * win_length / 1000),
            hop_length=round(sample_rate * hop_length / 1000),
            pad=0,
            window_fn="hamming_window",
            power=2.0,
            normalized=False,
            wkwargs=None,
            center=True,
            pad_mode="constant",
            onesided=True,
        )
        self.sample_rate_hz, self.feature_size = sample_rate, n_mels
        self.filters = BandedFilters(speechbrain_mel_filters(n_mels, self.spectrum_size, sample_rate, f_min, f_max))

    def _frames_to_features(self, frames: Tensor) -> Tensor:
        return 10.0 * self.filters(self._spectrum(frames)).clamp_min(POWER_FLOOR).log10()

    def _finish(self, features: Tensor, feature_lengths: Tensor | None) -> Tensor:
        counted = features
        if feature_lengths is not None:
            counted = torch.where(valid_frames(feature_lengths, features.shape[1]), features, float("-inf"))
        return torch.maximum(features, counted.amax(dim=(1, 2), keepdim=True) - TOP_DB)
