"""Kaldi's log mel filter-bank energies, with the arguments of torchaudio.compliance.kaldi.fbank."""

import math

import numpy as np
import torch
from torch import Tensor

from mvector.features.base import (
    Count,
    FrameFeature,
    extend,
    require,
    require_choice,
    require_count,
    require_flag,
    require_number,
    subtract_mean,
    valid_frames,
)
from mvector.features.mel import BandedFilters, kaldi_mel_filters
from mvector.registry import FEATURES

EPSILON = float(np.finfo(np.float32).eps)  # Kaldi's floor under logarithms: log gives −15.94
WINDOWS = ("hanning", "hamming", "povey", "rectangular", "blackman")


def kaldi_window(name: str, samples: int, blackman_coeff: float = 0.42) -> np.ndarray:
    """Kaldi's window functions, [samples] float64 (symmetric; 'povey' is Hann to the power of 0.85)."""
    phase = 2.0 * np.pi * np.arange(samples) / max(samples - 1, 1)
    if name == "hanning":
        return 0.5 - 0.5 * np.cos(phase)
    if name == "hamming":
        return 0.54 - 0.46 * np.cos(phase)
    if name == "povey":
        return (0.5 - 0.5 * np.cos(phase)) ** 0.85
    if name == "blackman":
        return blackman_coeff - 0.5 * np.cos(phase) + (0.5 - blackman_coeff) * np.cos(2.0 * phase)
    return np.ones(samples)


@FEATURES.register("Fbank")
class Fbank(FrameFeature):
    """Log mel filter-bank energies as Kaldi computes them (feature-fbank.cc; names of torchaudio's kaldi.fbank).

    forward(waveforms [B, T], lengths [B] or None) -> (features [B, F, D], frames [B]); D = num_mel_bins, and one more
    with use_energy (the first bin; the last with htk_compat).

    Frequencies in hertz, frame_length, frame_shift in milliseconds, min_duration in seconds. high_freq ≤ 0 counts from
    the Nyquist frequency. `dither` (standard deviation of the noise, on the scale of the scaled waveform) is applied
    in training mode only: an embedding has to be the same each time. Warping of the vocal tract length is not
    available: vtln_warp must be 1, and the two arguments that only shape the warping have no effect then.
    """

    def __init__(
        self,
        blackman_coeff: float = 0.42,
        channel: int = -1,
        dither: float = 0.0,
        energy_floor: float = 1.0,
        frame_length: float = 25.0,
        frame_shift: float = 10.0,
        high_freq: float = 0.0,
        htk_compat: bool = False,
        low_freq: float = 20.0,
        min_duration: float = 0.0,
        num_mel_bins: int = 23,
        preemphasis_coefficient: float = 0.97,
        raw_energy: bool = True,
        remove_dc_offset: bool = True,
        round_to_power_of_two: bool = True,
        sample_frequency: float = 16000.0,
        snip_edges: bool = True,
        subtract_mean: bool = False,
        use_energy: bool = False,
        use_log_fbank: bool = True,
        use_power: bool = True,
        vtln_high: float = -500.0,
        vtln_low: float = 100.0,
        vtln_warp: float = 1.0,
        window_type: str = "povey",
    ):
        super().__init__()
        require_number(
            "Fbank",
            blackman_coeff=blackman_coeff,
            dither=dither,
            energy_floor=energy_floor,
            frame_length=frame_length,
            frame_shift=frame_shift,
            high_freq=high_freq,
            low_freq=low_freq,
            min_duration=min_duration,
            preemphasis_coefficient=preemphasis_coefficient,
            sample_frequency=sample_frequency,
        )
        require_flag(
            "Fbank",
            htk_compat=htk_compat,
            raw_energy=raw_energy,
            remove_dc_offset=remove_dc_offset,
            round_to_power_of_two=round_to_power_of_two,
            snip_edges=snip_edges,
            subtract_mean=subtract_mean,
            use_energy=use_energy,
            use_log_fbank=use_log_fbank,
            use_power=use_power,
        )
        require_count("Fbank", num_mel_bins=num_mel_bins)
        nyquist = 0.5 * sample_frequency
        top = high_freq if high_freq > 0 else nyquist + high_freq
        require(
            0 <= low_freq < top <= nyquist,
            f"Fbank: low_freq {low_freq} and high_freq {high_freq} must give 0 <= low < high <= {nyquist} Hz, half of "
            "sample_frequency (a high_freq of 0 or less counts from there)",
        )
        require(0 <= preemphasis_coefficient <= 1, "Fbank: preemphasis_coefficient must lie between 0 and 1")
        require(dither >= 0, f"Fbank: dither must not be negative, found {dither}")
        require(energy_floor >= 0, f"Fbank: energy_floor must not be negative, found {energy_floor}")
        require_choice("Fbank", "window_type", window_type, WINDOWS)
        require(channel in (-1, 0), f"Fbank: channel must be -1 or 0 (waveforms are mono here), found {channel!r}")
        require(vtln_warp == 1.0, f"Fbank: vtln_warp must be 1.0 (warping is not available), found {vtln_warp!r}")

        self.window_samples = int(sample_frequency * frame_length * 0.001)
        self.shift_samples = int(sample_frequency * frame_shift * 0.001)
        require(self.window_samples >= 2, f"Fbank: frame_length {frame_length} ms is under two samples")
        require(self.shift_samples >= 1, f"Fbank: frame_shift {frame_shift} ms is under one sample")
        self.fft_size = self.window_samples
        if round_to_power_of_two:
            self.fft_size = 1 << (self.window_samples - 1).bit_length()
        require(
            self.fft_size % 2 == 0,
            f"Fbank: a frame of {self.window_samples} samples is odd; set round_to_power_of_two: true",
        )

        self.sample_rate_hz = round(sample_frequency)
        self.feature_size = num_mel_bins + int(use_energy)
        self.snip_edges = snip_edges
        shortest = self.window_samples if snip_edges else self.shift_samples - self.shift_samples // 2
        self.min_samples = max(shortest, math.ceil(min_duration * sample_frequency))

        self.dither = dither
        self.remove_dc_offset = remove_dc_offset
        self.preemphasis_coefficient = preemphasis_coefficient
        self.use_energy, self.raw_energy, self.htk_compat = use_energy, raw_energy, htk_compat
        self.energy_floor = energy_floor
        self.use_power, self.use_log_fbank = use_power, use_log_fbank
        self.subtract_mean = subtract_mean
        window = kaldi_window(window_type, self.window_samples, blackman_coeff).astype(np.float32)
        self.register_buffer("window", torch.from_numpy(window), persistent=False)
        self.window: Tensor
        self.filters = BandedFilters(kaldi_mel_filters(num_mel_bins, self.fft_size, sample_frequency, low_freq, top))

    def frame_count(self, samples: Count) -> Count:
        if self.snip_edges:
            return 1 + (samples - self.window_samples) // self.shift_samples
        return (samples + self.shift_samples // 2) // self.shift_samples

    def _signal(self, waveforms: Tensor, lengths: Tensor | None) -> Tensor:
        if self.snip_edges:
            return waveforms
        left = self.window_samples // 2 - self.shift_samples // 2
        if left < 0:  # a shift longer than the frame: the first frame starts inside the utterance
            return extend(waveforms, lengths, 0, self.window_samples, "symmetric")[:, -left:]
        return extend(waveforms, lengths, left, self.window_samples, "symmetric")

    def _frames_to_features(self, frames: Tensor) -> Tensor:
        if self.dither and self.training:
            frames = frames + self.dither * torch.randn_like(frames)
        if self.remove_dc_offset:
            frames = frames - frames.mean(dim=-1, keepdim=True)
        energy = self._log_energy(frames) if self.use_energy and self.raw_energy else None
        if self.preemphasis_coefficient:
            # Kaldi takes the sample before the first one to equal it.
            previous = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
            frames = frames.sub(previous, alpha=self.preemphasis_coefficient)
        frames = frames * self.window
        if self.use_energy and not self.raw_energy:
            energy = self._log_energy(frames)
        spectrum = torch.fft.rfft(frames, n=self.fft_size)  # [B, F, fft/2 + 1]
        spectrum = spectrum.real.square() + spectrum.imag.square()
        features = self.filters(spectrum if self.use_power else spectrum.sqrt())  # [B, F, num_mel_bins]
        if self.use_log_fbank:
            features = features.clamp_min(EPSILON).log()
        if energy is not None:
            features = torch.cat([features, energy] if self.htk_compat else [energy, features], dim=-1)
        return features

    def _log_energy(self, frames: Tensor) -> Tensor:
        """frames [B, F, window] -> [B, F, 1]"""
        energy = frames.square().sum(dim=-1, keepdim=True).clamp_min(EPSILON).log()
        return energy.clamp_min(math.log(self.energy_floor)) if self.energy_floor > 0 else energy

    def _finish(self, features: Tensor, feature_lengths: Tensor | None) -> Tensor:
        if not self.subtract_mean:
            return features
        if feature_lengths is not None:
            features = torch.where(valid_frames(feature_lengths, features.shape[1]), features, 0.0)
        return subtract_mean(features, feature_lengths)
