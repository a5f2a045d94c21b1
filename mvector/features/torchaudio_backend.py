"""The second implementation: torchaudio's own functions, for reproducing an old model bit for bit.

torchaudio is optional and imported here only, when a configuration asks for it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mvector.errors import ConfigError, MissingPackageError
from mvector.features.base import FrameFeature
from mvector.features.spectral import LOG_FLOOR
from mvector.precision import without_autocast


def import_torchaudio() -> Any:
    """torchaudio, or MissingPackageError: any failure counts as absent, since a build for another torch raises
    OSError or RuntimeError."""
    try:
        import torchaudio
        import torchaudio.compliance.kaldi
        import torchaudio.transforms
    except Exception as error:
        release = ".".join(torch.__version__.split(".")[:2])
        raise MissingPackageError(
            f"preprocess_conf.backend: torchaudio needs the package torchaudio, which cannot be imported ({error}). "
            f"Install the release made for the installed torch (torchaudio=={release}.*; where there is none, torch "
            "and torchaudio 2.11 fit together: pip install 'torch==2.11.*' 'torchaudio==2.11.*'), or set "
            "preprocess_conf.backend: native, which gives the same features"
        ) from error
    return torchaudio


class TorchaudioFeature(nn.Module):
    """A feature computed by torchaudio, one utterance at a time.

    forward(waveforms [B, T], lengths [B] or None) -> (features [B, F, D], frames [B]), as the `native` feature built
    from the same arguments, which has checked them and knows the sizes.
    """

    METHODS = ("Fbank", "MelSpectrogram", "Spectrogram", "MFCC")

    def __init__(self, method: str, arguments: Mapping[str, Any], native: FrameFeature):
        super().__init__()
        if method not in self.METHODS:
            raise ConfigError(
                f"backend torchaudio has no feature {method!r}; it has: {', '.join(self.METHODS)}. "
                "Set preprocess_conf.backend: native"
            )
        torchaudio = import_torchaudio()
        self.feature_size = native.feature_size
        self.sample_rate_hz = native.sample_rate_hz
        self.min_samples = native.min_samples
        self._native = [native]  # in a list, so that it is no submodule
        arguments = dict(arguments)
        self.log = bool(arguments.pop("log", False))
        self.dither = float(arguments.pop("dither", 0.0))
        self.transform: nn.Module | None = None
        if method == "Fbank":
            self._fbank: Callable[..., Tensor] = torchaudio.compliance.kaldi.fbank
            self.arguments = arguments
        else:
            self.transform = getattr(torchaudio.transforms, method)(**_as_torchaudio_takes(arguments))
            for module in self.transform.modules():
                for name, buffer in list(module.named_buffers(recurse=False)):
                    module.register_buffer(name, buffer, persistent=False)  # they are no weights of the model

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        native = self._native[0]
        lengths = native.check(waveforms, lengths)
        counts = [waveforms.shape[1]] * len(waveforms) if lengths is None else lengths.tolist()
        with without_autocast(waveforms.device.type):
            rows = [self._one(row[:count].float()) for row, count in zip(waveforms, counts, strict=True)]
        feature_lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64, device=waveforms.device)
        return nn.utils.rnn.pad_sequence(rows, batch_first=True), feature_lengths

    def _one(self, waveform: Tensor) -> Tensor:
        """waveform [T] -> features [F, D]"""
        if self.transform is None:
            dither = self.dither if self.training else 0.0
            return self._fbank(waveform[None], dither=dither, **self.arguments)
        features = self.transform(waveform).transpose(0, 1)
        return features.clamp_min(LOG_FLOOR).log() if self.log else features


def _as_torchaudio_takes(arguments: Mapping[str, Any]) -> dict[str, Any]:
    # torchaudio warns about `onesided`, which can only be true here, and takes the window as a function, not by name.
    result = {key: value for key, value in arguments.items() if key != "onesided"}
    if isinstance(result.get("window_fn"), str):
        result["window_fn"] = getattr(torch, result["window_fn"].removeprefix("torch."))
    if result.get("melkwargs"):
        result["melkwargs"] = _as_torchaudio_takes(result["melkwargs"])
    return result
