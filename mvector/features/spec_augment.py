"""SpecAugment (Park et al. 2019): bands of features and stretches of time are masked."""

import numpy as np
import torch
from torch import Tensor, nn


class SpecAugment(nn.Module):
    """Masks frequency bands and stretches of frames with zero, the mean of mean-normalised features.

    A worker draws, per utterance, numbers in [0, 1) (:meth:`draw`); :meth:`forward` applies a batch of draws to a
    batch of features on any device, so that what is masked is a function of the utterance's own generator.
    `max_time_warp` is the largest shift, in frames, of a random point in time (0: no warping).
    """

    def __init__(
        self,
        prob: float = 0.5,
        freq_mask_ratio: float = 0.1,
        n_freq_masks: int = 1,
        time_mask_ratio: float = 0.05,
        n_time_masks: int = 1,
        max_time_warp: int = 0,
    ):
        super().__init__()
        self.prob = prob
        self.freq_mask_ratio, self.n_freq_masks = freq_mask_ratio, n_freq_masks
        self.time_mask_ratio, self.n_time_masks = time_mask_ratio, n_time_masks
        self.max_time_warp = max_time_warp

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Uniform numbers [3 + 2 · masks] that decide everything about one utterance."""
        return rng.random(3 + 2 * (self.n_freq_masks + self.n_time_masks), dtype=np.float32)

    def forward(self, features: Tensor, draws: Tensor) -> Tensor:
        """features [B, F, D], draws [B, 3 + 2 · masks] on the CPU -> augmented features [B, F, D]."""
        _, frames, bins = features.shape
        draws = draws.cpu()
        chosen = draws[:, 0] < self.prob  # [B]
        if self.max_time_warp > 0:
            features = self._warp(features, draws[:, 1:3], chosen)
        masks = draws[:, 3:].numpy().reshape(len(draws), -1, 2)  # [B, masks, (width, start)]
        bands = _intervals(masks[:, : self.n_freq_masks], bins, self.freq_mask_ratio)  # [B, M, (start, end)]
        times = _intervals(masks[:, self.n_freq_masks :], frames, self.time_mask_ratio)
        if features.device.type == "cpu":
            return _blanked(features, chosen, bands, times)
        bands_there, times_there, chosen = (
            tensor.to(features.device, non_blocking=True)
            for tensor in (torch.from_numpy(bands), torch.from_numpy(times), chosen)
        )
        hidden = _covered(bands_there, bins)[:, None, :] | _covered(times_there, frames)[:, :, None]
        return features.masked_fill(hidden & chosen[:, None, None], 0.0)

    def _warp(self, features: Tensor, draws: Tensor, chosen: Tensor) -> Tensor:
        frames = features.shape[1]
        limit = min(self.max_time_warp, frames // 2 - 1)
        if limit < 1:
            return features
        warped = features.clone()
        for row in torch.nonzero(chosen).flatten().tolist():
            centre = limit + draws[row, 0] * (frames - 1 - 2 * limit)
            target = centre + (2 * draws[row, 1] - 1) * limit
            time = torch.arange(frames, device=features.device, dtype=features.dtype)
            source = torch.where(
                time <= target,
                time * centre / target.clamp_min(1e-3),
                centre + (time - target) * (frames - 1 - centre) / (frames - 1 - target).clamp_min(1e-3),
            )
            left = source.floor().long().clamp(0, frames - 2)
            part = (source - left)[:, None]
            warped[row] = features[row, left] * (1 - part) + features[row, left + 1] * part
        return warped


def _intervals(masks: np.ndarray, size: int, ratio: float) -> np.ndarray:
    """Where masks lie on `size` positions: (width, start) in [0, 1) -> (start, end) whole numbers, both [B, M, 2]."""
    widths = np.minimum(np.floor(masks[..., 0] * (ratio * size + 1)), size)  # 0 … ratio · size
    starts = np.floor(masks[..., 1] * (size - widths + 1))
    return np.stack([starts, starts + widths], axis=-1).astype(np.int64)


def _blanked(features: Tensor, chosen: Tensor, bands: np.ndarray, times: np.ndarray) -> Tensor:
    """The masks written one by one: on a CPU, for one utterance, that is quicker than comparing every position."""
    features = features.clone()
    for row, (is_chosen, of_bins, of_frames) in enumerate(
        zip(chosen.tolist(), bands.tolist(), times.tolist(), strict=True)
    ):
        if is_chosen:
            for start, end in of_bins:
                features[row, :, start:end] = 0.0
            for start, end in of_frames:
                features[row, start:end] = 0.0
    return features


def _covered(intervals: Tensor, size: int) -> Tensor:
    """Which of `size` positions lie in any interval: [B, M, 2] -> bool [B, size]."""
    position = torch.arange(size, device=intervals.device)
    inside = (position >= intervals[..., :1]) & (position < intervals[..., 1:])  # [B, M, size]
    return inside.any(dim=1)
