"""The featurizer: the first part of every model, from waveforms to normalised features."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mvector.errors import ConfigError
from mvector.features.base import FrameFeature, subtract_mean
from mvector.features.self_supervised import SelfSupervised
from mvector.precision import without_autocast
from mvector.registry import FEATURES

BACKENDS = ("native", "torchaudio")


class AudioFeaturizer(nn.Module):
    """waveform · waveform_scale → feature → minus its mean over the utterance.

    forward(waveforms [B, T] floating point, lengths int [B] in samples or None) -> (features [B, F, D] float32,
    feature_lengths [B] int64). Without lengths every row is taken whole. Each row is what that utterance alone gives
    (relative difference ≤ 1e-5); frames beyond its last are exactly zero.

    feature_method   'Fbank', 'MelSpectrogram', 'Spectrogram', 'MFCC', another registered name, or the dotted path of
                     a module with the same forward, `feature_size`, `sample_rate_hz` and `min_samples`; with
                     use_hf_model the folder or the hub's name of a self-supervised network
    method_args      arguments of that feature, named as in torchaudio; those of SelfSupervised with use_hf_model
    waveform_scale   the factor applied first: 32768 for recipes on the 16-bit scale (ours and Kaldi's), 1 for those
                     on [-1, 1], where Kaldi's log floor cuts off quiet speech
    mean_norm        subtract each bin's mean over the valid frames
    backend          'native', or 'torchaudio' to compute with that package, for reproducing an old model bit for bit
    use_hf_model     take the features from a self-supervised network (:mod:`mvector.features.self_supervised`)
    frontend         the stored description of that network: it is built from it instead of being read from its source

    Raises ConfigError for an unknown method, argument or backend, MissingPackageError where torchaudio or transformers
    is asked for and does not import, and, from forward, TooShortError for an utterance without a frame (`min_samples`
    are needed).
    """

    def __init__(
        self,
        feature_method: str = "Fbank",
        method_args: Mapping[str, Any] | None = None,
        waveform_scale: float = 1.0,
        mean_norm: bool = True,
        backend: str = "native",
        use_hf_model: bool = False,
        frontend: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        if backend not in BACKENDS:
            raise ConfigError(f"unknown feature backend {backend!r}; there are: {', '.join(BACKENDS)}")
        number = isinstance(waveform_scale, (int, float)) and not isinstance(waveform_scale, bool)
        if not number or not 0 < waveform_scale < float("inf"):
            raise ConfigError(f"waveform_scale must be a positive number, found {waveform_scale!r}")
        self.feature_method = feature_method
        self.waveform_scale = float(waveform_scale)
        self.mean_norm = mean_norm
        self.backend = backend
        self.feature: Any
        if use_hf_model:
            self.feature = SelfSupervised(feature_method, **(method_args or {}), description=frontend)
        else:
            self.feature = FEATURES.build(feature_method, dict(method_args or {}))
        if backend == "torchaudio":
            from mvector.features.torchaudio_backend import TorchaudioFeature

            self.feature = TorchaudioFeature(feature_method, dict(method_args or {}), self.feature)

    @property
    def feature_size(self) -> int:
        """D, the bins of a frame."""
        return self.feature.feature_size

    @property
    def sample_rate_hz(self) -> int:
        """The rate that the waveforms must have."""
        return self.feature.sample_rate_hz

    @property
    def min_samples(self) -> int:
        """The shortest waveform that gives a frame, in samples."""
        return self.feature.min_samples

    @property
    def trainable(self) -> nn.Module | None:
        """The part that training changes; None for features that are only computed."""
        part: nn.Module = getattr(self.feature, "trainable", self.feature)
        return part if any(parameter.requires_grad for parameter in part.parameters()) else None

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not isinstance(self.feature, FrameFeature):
            features, feature_lengths = self.feature(waveforms * self.waveform_scale, lengths)
        with without_autocast(waveforms.device.type):
            if isinstance(self.feature, FrameFeature):
                features, feature_lengths = self.feature.extract(waveforms, lengths, self.waveform_scale)
            if self.mean_norm:
                features = subtract_mean(features, None if lengths is None else feature_lengths)
        return features, feature_lengths

    def extra_repr(self) -> str:
        return f"waveform_scale={self.waveform_scale}, mean_norm={self.mean_norm}, backend={self.backend}"
