"""Spectrogram, MelSpectrogram and MFCC, with the arguments of torchaudio.transforms."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mvector.errors import ConfigError
from mvector.features.base import (
    Count,
    FrameFeature,
    extend,
    require,
    require_choice,
    require_count,
    require_flag,
    require_number,
    valid_frames,
)
from mvector.features.mel import BandedFilters, checked_mel_filters
from mvector.registry import FEATURES

LOG_FLOOR = 1e-10  # under the logarithm of the `log` option: log gives −23.03
PAD_MODES = ("reflect", "constant", "replicate")
NORMALIZATIONS = (False, True, "window", "frame_length")
Window = str | Callable[..., Tensor]


def spectral_window(method: str, window_fn: Window, samples: int, wkwargs: Mapping[str, Any] | None) -> Tensor:
    """The window [samples] float32 that `window_fn` (a function, or the name of torch's) makes in double precision."""
    if isinstance(window_fn, str):
        names = ("hann_window", "hamming_window", "blackman_window", "bartlett_window", "kaiser_window")
        name = window_fn.removeprefix("torch.")
        require_choice(method, "window_fn", name, names)
        window_fn = getattr(torch, name)
    if not callable(window_fn):
        raise ConfigError(f"{method}: window_fn must be a function or its name, found {window_fn!r}")
    arguments = dict(wkwargs or {})
    arguments.setdefault("dtype", torch.float64)
    try:
        return window_fn(samples, **arguments).to(torch.float32)
    except TypeError as error:
        raise ConfigError(f"{method}: window_fn cannot take wkwargs {wkwargs!r}: {error}") from error


class ShortTimeSpectrum(FrameFeature):
    """What the three have in common: centred or plain frames and the |STFT| to a power.

    A centred frame reaches over the utterance's ends, which are extended by `pad_mode` at each utterance's own end.
    """

    def __init__(
        self,
        n_fft: int,
        win_length: int | None,
        hop_length: int | None,
        pad: int,
        window_fn: Window,
        power: float | None,
        normalized: bool | str,
        wkwargs: Mapping[str, Any] | None,
        center: bool,
        pad_mode: str,
        onesided: bool | None,
    ):
        super().__init__()
        method = type(self).__name__
        require_count(method, n_fft=n_fft)
        win_length = n_fft if win_length is None else win_length
        require_count(method, win_length=win_length)
        hop_length = win_length // 2 if hop_length is None else hop_length
        require_count(method, hop_length=hop_length)
        require(win_length <= n_fft, f"{method}: win_length {win_length} must not exceed n_fft {n_fft}")
        require(isinstance(pad, int) and pad >= 0, f"{method}: pad must be a whole number of samples, found {pad!r}")
        require(power is not None, f"{method}: power must be a number: the complex spectrum (null) is no feature")
        require_number(method, power=power)
        require_flag(method, center=center)
        assert power is not None
        require(power > 0, f"{method}: power must be above zero, found {power!r}")
        require(onesided in (True, None), f"{method}: onesided must be true: the other half holds the same values")
        require_choice(method, "pad_mode", pad_mode, PAD_MODES)
        require(
            normalized in NORMALIZATIONS,
            f"{method}: normalized must be true, false, 'window' or 'frame_length', found {normalized!r}",
        )
        window = spectral_window(method, window_fn, win_length, wkwargs)
        if normalized == "frame_length":
            window = window / n_fft**0.5
        elif normalized:
            window = window / window.double().square().sum().sqrt().float()
        self.register_buffer("window", window, persistent=False)
        self.window: Tensor

        self.n_fft, self.pad, self.power = n_fft, pad, float(power)
        self.center, self.pad_mode = center, pad_mode
        self.window_samples, self.shift_samples = win_length, hop_length
        self.spectrum_size = n_fft // 2 + 1
        # Reflection needs a sample more than it reflects; without centring a whole frame must fit.
        shortest = n_fft
        if center:
            shortest = n_fft // 2 + 1 if pad_mode == "reflect" else 1
        self.min_samples = max(shortest - 2 * pad, 1)

    def frame_count(self, samples: Count) -> Count:
        overhang = 2 * (self.n_fft // 2) if self.center else 0
        return 1 + (samples + 2 * self.pad + overhang - self.n_fft) // self.shift_samples

    def _signal(self, waveforms: Tensor, lengths: Tensor | None) -> Tensor:
        ends = self.n_fft // 2 if self.center else 0
        signal = extend(waveforms, lengths, ends, ends, self.pad_mode, zeros=self.pad)
        # A window shorter than the FFT stands in the middle of its frame. Only those samples are taken: the position
        # within the FFT turns phases, and magnitudes are all that is used.
        return signal[:, (self.n_fft - self.window_samples) // 2 :]

    def _spectrum(self, frames: Tensor) -> Tensor:
        """frames [B, F, window] -> |STFT|^power [B, F, n_fft // 2 + 1]"""
        spectrum = torch.fft.rfft(frames * self.window, n=self.n_fft)
        spectrum = spectrum.real.square() + spectrum.imag.square()
        return spectrum if self.power == 2.0 else spectrum.pow(0.5 * self.power)


@FEATURES.register("Spectrogram")
class Spectrogram(ShortTimeSpectrum):
    """|STFT|^power (torchaudio.transforms.Spectrogram); with `log` its natural logarithm, floored at 1e-10.

    forward(waveforms [B, T], lengths [B] or None) -> (features [B, F, n_fft // 2 + 1], frames [B]).
    `window_fn` may be the name of torch's function, as YAML has to write it.
    """

    sample_rate_hz = 16000  # nothing in the arguments says it

    def __init__(
        self,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        pad: int = 0,
        window_fn: Window = "hann_window",
        power: float | None = 2.0,
        normalized: bool | str = False,
        wkwargs: Mapping[str, Any] | None = None,
        center: bool = True,
        pad_mode: str = "reflect",
        onesided: bool | None = True,
        log: bool = False,
    ):
        super().__init__(
            n_fft, win_length, hop_length, pad, window_fn, power, normalized, wkwargs, center, pad_mode, onesided
        )
        require_flag(type(self).__name__, log=log)
        self.log = log
        self.feature_size = self.spectrum_size

    def _frames_to_features(self, frames: Tensor) -> Tensor:
        spectrum = self._spectrum(frames)
        return spectrum.clamp_min(LOG_FLOOR).log() if self.log else spectrum


@FEATURES.register("MelSpectrogram")
class MelSpectrogram(ShortTimeSpectrum):
    """Mel bands of |STFT|^power (torchaudio.transforms.MelSpectrogram); with `log` their logarithm, floored at 1e-10.

    forward(waveforms [B, T], lengths [B] or None) -> (features [B, F, n_mels], frames [B]).
    An f_max above half the sample rate is accepted with a warning, since published configurations ask for it: the
    bands above it stay empty.
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        f_min: float = 0.0,
        f_max: float | None = None,
        pad: int = 0,
        n_mels: int = 128,
        window_fn: Window = "hann_window",
        power: float | None = 2.0,
        normalized: bool | str = False,
        wkwargs: Mapping[str, Any] | None = None,
        center: bool = True,
        pad_mode: str = "reflect",
        onesided: bool | None = None,
        norm: str | None = None,
        mel_scale: str = "htk",
        log: bool = False,
    ):
        super().__init__(
            n_fft, win_length, hop_length, pad, window_fn, power, normalized, wkwargs, center, pad_mode, onesided
        )
        require_flag(type(self).__name__, log=log)
        self.log = log
        self.sample_rate_hz = sample_rate
        self.feature_size = n_mels
        self.filters = BandedFilters(
            checked_mel_filters(
                type(self).__name__, n_mels, self.spectrum_size, sample_rate, f_min, f_max, norm, mel_scale
            )
        )

    def _frames_to_features(self, frames: Tensor) -> Tensor:
        bands = self.filters(self._spectrum(frames))
        return bands.clamp_min(LOG_FLOOR).log() if self.log else bands


@FEATURES.register("MFCC")
class MFCC(FrameFeature):
    """Mel-frequency cepstral coefficients (torchaudio.transforms.MFCC): the DCT-II of log mel bands.

    forward(waveforms [B, T], lengths [B] or None) -> (features [B, F, n_mfcc], frames [B]).
    The bands are in decibels, clamped 80 dB under the loudest band of the utterance (torchaudio: of the whole batch);
    with log_mels they are log(band + 1e-6) instead. `melkwargs` are arguments of MelSpectrogram.
    """

    TOP_DB = 80.0

    def __init__(
        self,
        sample_rate: int = 16000,
        n_mfcc: int = 40,
        dct_type: int = 2,
        norm: str | None = "ortho",
        log_mels: bool = False,
        melkwargs: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        require_count("MFCC", n_mfcc=n_mfcc)
        require_flag("MFCC", log_mels=log_mels)
        require(dct_type == 2, f"MFCC: dct_type must be 2, found {dct_type!r}")
        require(norm in ("ortho", None), f"MFCC: norm must be 'ortho' or null, found {norm!r}")
        melkwargs = dict(melkwargs or {})
        for key in ("sample_rate", "log"):
            require(key not in melkwargs, f"MFCC: melkwargs cannot hold {key!r}: it is decided by MFCC itself")
        FEATURES.check_arguments("MelSpectrogram", melkwargs)
        self.bands = MelSpectrogram(sample_rate=sample_rate, **melkwargs)
        n_mels = self.bands.feature_size
        require(n_mfcc <= n_mels, f"MFCC: n_mfcc {n_mfcc} must not exceed n_mels {n_mels} of melkwargs")
        self.sample_rate_hz, self.feature_size = sample_rate, n_mfcc
        self.min_samples = self.bands.min_samples
        self.window_samples, self.shift_samples = self.bands.window_samples, self.bands.shift_samples
        self.log_mels = log_mels
        cosines = np.cos(np.pi / n_mels * np.outer(np.arange(n_mels) + 0.5, np.arange(n_mfcc)))
        if norm == "ortho":
            cosines *= np.sqrt(2.0 / n_mels)
            cosines[:, 0] *= np.sqrt(0.5)
        else:
            cosines *= 2.0
        self.register_buffer("cosines", torch.from_numpy(cosines.astype(np.float32)), persistent=False)
        self.cosines: Tensor

    def frame_count(self, samples: Count) -> Count:
        return self.bands.frame_count(samples)

    def _signal(self, waveforms: Tensor, lengths: Tensor | None) -> Tensor:
        return self.bands._signal(waveforms, lengths)

    def _frames_to_features(self, frames: Tensor) -> Tensor:
        bands = self.bands._frames_to_features(frames)
        if self.log_mels:
            return (bands + 1e-6).log()
        return 10.0 * bands.clamp_min(1e-10).log10()

    def _finish(self, features: Tensor, feature_lengths: Tensor | None) -> Tensor:
        if not self.log_mels:
            counted = features
            if feature_lengths is not None:
                counted = torch.where(valid_frames(feature_lengths, features.shape[1]), features, float("-inf"))
            features = torch.maximum(features, counted.amax(dim=(1, 2), keepdim=True) - self.TOP_DB)
        return features @ self.cosines
