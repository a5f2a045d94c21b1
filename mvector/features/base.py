"""What every feature shares: lengths, padding, framing, and how the work is cut into blocks.

A feature is a frame-wise function (window, FFT, filters, logarithm) between two steps that know the whole utterance:
extending it at its ends before, and perhaps a step over all of its frames after. :class:`FrameFeature` owns that
order; a subclass writes the frame-wise function and says how its frames lie.

Promise: a row of a batch comes out as that utterance alone would. Nothing beyond its length has any influence,
extension happens at each utterance's own end, and output frames beyond its last one are exactly zero.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvector.errors import ConfigError, TooShortError, nearest
from mvector.precision import without_autocast

# Samples of windowed frames that are worked on at once. On a CPU a block and its spectrum should stay in the
# second-level cache (a padded batch of 64 utterances ran at 0.4 times the speed of one utterance after the other); a
# GPU wants few large kernels, and is bounded only so that a long batch does not fill its memory.
CPU_BLOCK_SAMPLES = 1 << 18
GPU_BLOCK_SAMPLES = 1 << 25

Count = TypeVar("Count", int, Tensor)


def require(condition: bool, message: str) -> None:
    """Raise ConfigError(message) unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def require_choice(method: str, name: str, value: object, allowed: Sequence[str]) -> None:
    """Raise ConfigError unless `value` is one of the `allowed` names."""
    require(
        value in allowed,
        f"{method}: unknown {name} {value!r}; there are: {', '.join(allowed)}.{nearest(str(value), allowed)}",
    )


def require_number(method: str, **values: object) -> None:
    """Raise ConfigError for a value that is not a finite number (a quoted one in YAML, say)."""
    for name, value in values.items():
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")
        require(good, f"{method}: {name} must be a number, found {value!r}")


def require_flag(method: str, **values: object) -> None:
    """Raise ConfigError for a value that is neither true nor false (the text 'no' would count as true)."""
    for name, value in values.items():
        require(isinstance(value, bool), f"{method}: {name} must be true or false, found {value!r}")


def require_count(method: str, **values: object) -> None:
    """Raise ConfigError for a value that is not a whole number of at least 1."""
    for name, value in values.items():
        good = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        require(good, f"{method}: {name} must be a whole number of at least 1, found {value!r}")


def subtract_mean(features: Tensor, feature_lengths: Tensor | None) -> Tensor:
    """Subtract from each utterance the mean over its valid frames; frames beyond stay zero.

    features [B, F, D] with zeros beyond feature_lengths [B] (None: every frame is valid) -> [B, F, D].
    """
    if feature_lengths is None:
        return features - features.mean(dim=1, keepdim=True)
    mean = features.sum(dim=1, keepdim=True) / feature_lengths.to(features.dtype)[:, None, None]
    return torch.where(valid_frames(feature_lengths, features.shape[1]), features - mean, 0.0)


def valid_frames(feature_lengths: Tensor, frames: int) -> Tensor:
    """feature_lengths [B] -> [B, frames, 1] bool, true for the frames that an utterance has."""
    return (torch.arange(frames, device=feature_lengths.device) < feature_lengths[:, None])[:, :, None]


def extend(waveforms: Tensor, lengths: Tensor | None, left: int, right: int, mode: str, zeros: int = 0) -> Tensor:
    """Lengthen each utterance at its own two ends.

    waveforms [B, T] -> [B, left + zeros + T + zeros + right]. First `zeros` zero samples are added on either side,
    then `left` and `right` more by `mode`: 'reflect' (without the edge sample), 'symmetric' (with it, Kaldi's way),
    'replicate' or 'constant' (zeros). What stands beyond a shorter utterance's own extension is arbitrary but finite.
    """
    if lengths is None and zeros:
        waveforms, zeros = F.pad(waveforms, (zeros, zeros)), 0
    samples = waveforms.shape[1]
    if lengths is None and mode == "symmetric":
        before = _mirror(torch.arange(-left, 0, device=waveforms.device), samples)
        after = _mirror(torch.arange(samples, samples + right, device=waveforms.device), samples)
        return torch.cat([waveforms[:, before], waveforms, waveforms[:, after]], dim=1)
    if lengths is None:
        return F.pad(waveforms, (left, right), mode=mode) if left or right else waveforms

    position = torch.arange(-left, samples + 2 * zeros + right, device=waveforms.device)
    last = lengths[:, None] + (2 * zeros - 1)  # [B, 1], the last sample with its zeros
    if mode == "reflect":
        source = last - (last - position.abs()).abs()
    elif mode == "symmetric":
        source = _mirror(position, last + 1)
    elif mode == "replicate":
        source = torch.minimum(position.clamp_min(0), last)
    else:
        source = position.expand(len(waveforms), -1)
    source = source - zeros  # [B, T'], from where in the waveform each sample comes
    extended = waveforms.gather(1, source.clamp(0, samples - 1))
    if mode == "constant" or zeros:
        extended = torch.where((source >= 0) & (source < lengths[:, None]), extended, 0.0)
    return extended


def _mirror(position: Tensor, samples: Tensor | int) -> Tensor:
    """Positions outside 0 … samples − 1, mirrored back with the edge sample repeated, as often as it takes."""
    position = position.remainder(2 * samples)
    return torch.minimum(position, 2 * samples - 1 - position)


class FrameFeature(nn.Module, ABC):
    """Base of the features: forward(waveforms [B, T], lengths [B] or None) -> (features [B, F, D], frames [B]).

    Always computed in float32, also under autocast and in a model turned to half precision. Buffers are made in
    double precision on the CPU, so that the module works on devices without it, and are no part of the state dict.

    Raises TooShortError when an utterance has no frame, ValueError for tensors of the wrong kind.
    """

    feature_size: int  # D, bins per frame
    sample_rate_hz: int  # the rate the waveforms must have
    min_samples: int  # the shortest waveform that gives a frame
    window_samples: int  # samples in a frame before zero-filling up to the FFT size
    shift_samples: int

    @abstractmethod
    def frame_count(self, samples: Count) -> Count:
        """Frames of utterances of `samples` samples (integers, elementwise)."""

    @abstractmethod
    def _signal(self, waveforms: Tensor, lengths: Tensor | None) -> Tensor:
        """waveforms [B, T] -> [B, T'] such that frame f starts at sample f · shift_samples."""

    @abstractmethod
    def _frames_to_features(self, frames: Tensor) -> Tensor:
        """Raw frames [B, F, window_samples] (a view, not to be written to) -> features [B, F, D]."""

    def _finish(self, features: Tensor, feature_lengths: Tensor | None) -> Tensor:
        """A step over whole utterances, features [B, F, D] -> [B, F, D]; frames beyond the lengths may be anything."""
        return features

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.extract(waveforms, lengths)

    def extract(self, waveforms: Tensor, lengths: Tensor | None = None, scale: float = 1.0) -> tuple[Tensor, Tensor]:
        """As forward, on `scale` · waveforms (multiplied block by block, so that no scaled copy of a batch is made)."""
        lengths = self.check(waveforms, lengths)
        with without_autocast(waveforms.device.type):
            if waveforms.device.type == "cpu":
                return self._one_by_one(waveforms, lengths, scale)
            return self._together(waveforms, lengths, scale)

    def check(self, waveforms: Tensor, lengths: Tensor | None) -> Tensor | None:
        """Raise for waveforms or lengths that cannot be worked on; returns the lengths as int64.

        The values are looked at where they are: lengths left on the CPU do not make it wait for a GPU.
        """
        if waveforms.dim() != 2 or not waveforms.is_floating_point():
            raise ValueError(
                f"waveforms must be floating point [B, T], found {waveforms.dtype} {list(waveforms.shape)}"
            )
        shortest = waveforms.shape[1]
        if lengths is not None:
            if lengths.shape != waveforms.shape[:1] or lengths.is_floating_point():
                raise ValueError(
                    f"lengths must be whole numbers of shape [{len(waveforms)}], "
                    f"found {lengths.dtype} {list(lengths.shape)}"
                )
            lengths = lengths.to(torch.int64)
            if len(lengths):
                low, high = torch.stack(torch.aminmax(lengths)).tolist()
                if high > waveforms.shape[1]:
                    raise ValueError(f"a length of {high} samples in waveforms of {waveforms.shape[1]} samples")
                shortest = low
        if len(waveforms) and shortest < self.min_samples:
            raise TooShortError(
                f"a recording of {shortest} samples ({1000 * shortest / self.sample_rate_hz:.1f} ms) is too short: "
                f"{type(self).__name__} needs at least {self.min_samples} samples "
                f"({1000 * self.min_samples / self.sample_rate_hz:.1f} ms) for one frame"
            )
        return lengths

    def _one_by_one(self, waveforms: Tensor, lengths: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
        batch, samples = waveforms.shape
        counts = [samples] * batch if lengths is None else lengths.tolist()
        frames = [int(self.frame_count(count)) for count in counts]
        feature_lengths = torch.tensor(frames, dtype=torch.int64)

        def features_of(row: int) -> Tensor:
            utterance = waveforms[row : row + 1, : counts[row]]
            return self._finish(self._rows(utterance, None, frames[row], scale, CPU_BLOCK_SAMPLES), None)

        if batch == 1:
            return features_of(0), feature_lengths
        features = waveforms.new_zeros(batch, max(frames, default=0), self.feature_size, dtype=torch.float32)
        for row in range(batch):
            features[row, : frames[row]] = features_of(row)[0]
        return features, feature_lengths

    def _together(self, waveforms: Tensor, lengths: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
        batch, samples = waveforms.shape
        counts = torch.full((batch,), samples) if lengths is None else lengths
        feature_lengths = self.frame_count(counts)
        frames = int(feature_lengths.max()) if batch else 0
        feature_lengths = feature_lengths.to(waveforms.device, non_blocking=True)
        if lengths is None:
            features = self._rows(waveforms, None, frames, scale, GPU_BLOCK_SAMPLES // max(batch, 1))
            return self._finish(features, None), feature_lengths
        lengths = lengths.to(waveforms.device, non_blocking=True)
        features = self._rows(waveforms, lengths, frames, scale, GPU_BLOCK_SAMPLES // max(batch, 1))
        features = self._finish(features, feature_lengths)
        return torch.where(valid_frames(feature_lengths, frames), features, 0.0), feature_lengths

    def _rows(self, waveforms: Tensor, lengths: Tensor | None, frames: int, scale: float, block_samples: int) -> Tensor:
        """waveforms [B, T] -> features [B, frames, D], in blocks of frames."""
        waveforms = waveforms.float()
        signal = self._signal(waveforms * scale if scale != 1.0 else waveforms, lengths)
        windows = signal.unfold(1, self.window_samples, self.shift_samples)[:, :frames]  # [B, F, window], a view
        blocks = windows.split(max(block_samples // self.window_samples, 1), dim=1)
        parts = [self._frames_to_features(block) for block in blocks]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FrameFeature":
        # Follow .to(device) but not .half(): windows and filters rounded to half precision are other features.
        return super()._apply(lambda tensor: tensor.to(fn(tensor).device), recurse)
