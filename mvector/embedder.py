"""Waveform → embedding: the featurizer and the backbone as one module, the same in training, evaluation and service."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mvector.config import Config
from mvector.errors import TooShortError
from mvector.features import AudioFeaturizer
from mvector.features.base import FrameFeature
from mvector.features.self_supervised import SelfSupervised
from mvector.models.inference import InferenceCopy
from mvector.precision import PRECISIONS
from mvector.registry import BACKBONES


class SpeakerEmbedder(nn.Module):
    """Featurizer and backbone.

    forward(waveforms [B, T]) -> embeddings [B, E]; all rows have the same length, so nothing is ever padded and an
    embedding belongs to its utterance alone. :meth:`embed` takes utterances of any lengths, and computes in `precision`
    ('float32' or 'bfloat16'), where forward knows nothing of it: a trainer has its own precision, an export float32.
    """

    backbone: Any  # a module with embd_dim and min_frames

    def __init__(self, featurizer: AudioFeaturizer, backbone: nn.Module, precision: str = "float32"):
        super().__init__()
        self.featurizer = featurizer
        self.backbone = backbone
        self._reduced = None if precision == "float32" else InferenceCopy(PRECISIONS[precision])
        self._device: torch.device | None = None

    @classmethod
    def from_config(cls, config: Config, frontend: Mapping[str, Any] | None = None) -> "SpeakerEmbedder":
        """Built with random weights, those of a self-supervised front end excepted: they are read from its source.

        `frontend` is the description that a model directory has of its front end: with it that is built like the rest.
        """
        preprocess = config.preprocess_conf
        featurizer = AudioFeaturizer(
            feature_method=preprocess.feature_method,
            method_args=preprocess.method_args,
            waveform_scale=preprocess.waveform_scale,
            mean_norm=preprocess.mean_norm,
            backend=preprocess.backend,
            use_hf_model=preprocess.use_hf_model,
            frontend=frontend,
        )
        backbone = BACKBONES.build(
            config.model_conf.model, config.model_conf.model_args, input_size=featurizer.feature_size
        )
        return cls(featurizer, backbone, config.model_conf.precision)

    @property
    def embedding_size(self) -> int:
        """E, the numbers of an embedding."""
        return int(self.backbone.embd_dim)

    @property
    def device(self) -> torch.device:
        if self._device is None:
            self._device = next(self.backbone.parameters()).device
        return self._device

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SpeakerEmbedder":
        self._device = None
        return super()._apply(fn, recurse)

    def forward(self, waveforms: Tensor) -> Tensor:
        features, _ = self.featurizer(waveforms)  # [B, F, D]
        return self.backbone(features)  # [B, E]

    @torch.inference_mode()
    def embed(self, waveforms: Sequence[np.ndarray], batch_size: int = 32) -> np.ndarray:
        """Embeddings [N, E] float32 of N waveforms (mono float32 at the model's rate), in their order.

        Utterances of equal length share a batch on an accelerator; on the CPU they go one by one, which is quicker
        there. Raises TooShortError for a waveform with fewer frames than the backbone needs.
        """
        if self.training:
            raise RuntimeError("call eval() first: batch statistics would mix the utterances")
        for waveform in waveforms:
            self._require_frames(waveform)
        embeddings = np.empty((len(waveforms), self.backbone.embd_dim), dtype=np.float32)
        device = self.device
        if device.type == "cpu":
            for row, waveform in enumerate(waveforms):
                waveform = np.ascontiguousarray(waveform, dtype=np.float32)
                if not waveform.flags.writeable:  # torch warns of it
                    waveform = waveform.copy()
                batch = torch.from_numpy(waveform).unsqueeze(0)
                embeddings[row] = self._embed_batch(batch)[0].float().numpy()
            return embeddings
        for rows in of_equal_length(waveforms, batch_size):
            batch = torch.from_numpy(np.stack([waveforms[row] for row in rows])).to(device)
            embeddings[rows] = self._embed_batch(batch).float().cpu().numpy()
        return embeddings

    def _embed_batch(self, waveforms: Tensor) -> Tensor:
        """As forward, in the model's precision."""
        if self._reduced is None:
            return self(waveforms)
        networks = isinstance(self.featurizer.feature, SelfSupervised)  # other features are float32 in any case
        with torch.autocast(waveforms.device.type, self._reduced.dtype) if networks else nullcontext():
            features, _ = self.featurizer(waveforms)
        return self._reduced(self.backbone, features)

    def _require_frames(self, waveform: np.ndarray) -> None:
        needed = self.min_samples
        if len(waveform) < needed:
            rate = self.featurizer.sample_rate_hz
            raise TooShortError(
                f"the recording has {len(waveform) / rate:.3f} s of sound; this model needs at least "
                f"{needed / rate:.3f} s. Record a longer one."
            )

    @property
    def min_samples(self) -> int:
        """The shortest waveform that gives the frames the backbone needs."""
        if not hasattr(self, "_min_samples"):
            low, high = 1, self.featurizer.sample_rate_hz * 10
            while low < high:  # frame counts grow with length: bisect instead of inverting each method's formula
                middle = (low + high) // 2
                if self._frames(middle) >= self.backbone.min_frames:
                    high = middle
                else:
                    low = middle + 1
            self._min_samples = low
        return self._min_samples

    def _frames(self, samples: int) -> int:
        feature = self.featurizer.feature
        if isinstance(feature, FrameFeature | SelfSupervised):  # quicker than computing up to ten seconds of features
            return int(feature.frame_count(samples)) if samples >= feature.min_samples else 0
        try:
            with torch.inference_mode():
                return self.featurizer(torch.zeros(1, samples, device=self.device))[0].shape[1]
        except TooShortError:
            return 0


def of_equal_length(waveforms: Sequence[np.ndarray], at_most: int) -> Iterator[list[int]]:
    """The indexes of `waveforms` in groups of equal length, `at_most` in each."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, waveform in enumerate(waveforms):
        groups[len(waveform)].append(index)
    for indexes in groups.values():
        for first in range(0, len(indexes), at_most):
            yield indexes[first : first + at_most]
