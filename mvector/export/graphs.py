"""A network, or what a model does to a waveform before it, as a graph that takes any batch and any length."""

from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.overrides import TorchFunctionMode

from mvector.errors import ModelError
from mvector.features import AudioFeaturizer
from mvector.features.base import FrameFeature, subtract_mean

FEATURES, WAVEFORM, EMBEDDING = "features", "waveform", "embedding"  # names of inputs and outputs
TOLERANCE = 1e-4  # of the largest value, between an exported file and torch
MAX_GAIN_DB = 300.0  # as in mvector.audio.normalize_level
_EXAMPLE_FRAMES = 103  # beyond the least; any number that nothing else in a network has


def network_graph(backbone: Any, feature_size: int) -> ExportedProgram:
    """A backbone in evaluation mode: features [B, F, D] -> embedding [B, E].

    Raises ModelError for a backbone that fixes the batch size or the number of frames, or branches on values.
    """
    features = torch.randn(2, backbone.min_frames + _EXAMPLE_FRAMES, feature_size)
    return _export(backbone, features, f"the backbone {type(backbone).__name__}")


def features_graph(featurizer: AudioFeaturizer, level_db: float | None) -> ExportedProgram:
    """Level, waveform scale, feature and mean normalisation: waveform [B, T] -> features [B, F, D].

    `level_db` is the level that every waveform is brought to first, None: as recorded. The spectrum is a product with
    a matrix instead of a fast Fourier transform, whose complex numbers most runtimes lack. Raises ModelError for
    features that such a graph cannot hold.
    """
    name = featurizer.feature_method
    if not isinstance(featurizer.feature, FrameFeature):
        raise ModelError(
            f"the features {name} (backend {featurizer.backend}) cannot be exported: only those that this package "
            "computes itself can. Export the network alone, without --with_features."
        )
    samples = featurizer.min_samples + _EXAMPLE_FRAMES * featurizer.feature.shift_samples + 31
    with PlainOperators():
        return _export(FrontEnd(featurizer, level_db), 0.1 * torch.randn(2, samples), f"the feature {name}")


def least_length(program: ExportedProgram) -> int:
    """The shortest input that a graph is made for. Shorter ones may be right, but nothing promises it."""
    size: Any = _input_shape(program)[1]
    return int(program.range_constraints[size.node.expr].lower)


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest value; infinite where the shapes differ or a value is NaN."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def require_equal(found: float, name: str) -> None:
    """Raise ModelError where an exported file differs from torch by more than TOLERANCE."""
    if not found <= TOLERANCE:
        raise ModelError(
            f"{name} cannot be exported: what the file computes differs from torch by {found:.1e} of the largest "
            "value. Another release of torch, onnxscript or onnxruntime may do better."
        )


def _export(module: nn.Module, example: Tensor, name: str) -> ExportedProgram:
    anything = Dim.AUTO
    try:
        # Not strict: Python runs as it is, and sizes stay symbols.
        program = torch.export.export(
            module.eval(), (example,), dynamic_shapes=({0: anything, 1: anything},), strict=False
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{name} cannot be exported ({type(error).__name__}: {reason})") from error
    for axis, size in zip(("batch size", "length"), _input_shape(program), strict=False):
        if not (isinstance(size, torch.SymInt) and size.node.expr.free_symbols):
            raise ModelError(f"{name} cannot be exported: it fixes the {axis} of its input at {size}.")
    return program


def _input_shape(program: ExportedProgram) -> torch.Size:
    (name,) = program.graph_signature.user_inputs
    return next(node.meta["val"].shape for node in program.graph.nodes if node.name == name)


class FrontEnd(nn.Module):
    """Waveform -> features as :class:`AudioFeaturizer` gives for one utterance, in whole tensors and any batch size.

    forward(waveforms [B, T]) -> [B, F, D]. With `level_db` each row is brought to that level first, as
    :func:`mvector.audio.normalize_level` does.
    """

    def __init__(self, featurizer: AudioFeaturizer, level_db: float | None):
        super().__init__()
        self.feature: Any = featurizer.feature
        self.waveform_scale, self.mean_norm = featurizer.waveform_scale, featurizer.mean_norm
        self.level_db = level_db

    def forward(self, waveforms: Tensor) -> Tensor:
        if self.level_db is not None:
            waveforms = at_level(waveforms, self.level_db)
        feature = self.feature
        frames = feature.frame_count(waveforms.shape[1])
        signal = feature._signal(waveforms * self.waveform_scale, None)
        starts = torch.arange(frames, device=signal.device) * feature.shift_samples
        within = torch.arange(feature.window_samples, device=signal.device)
        features = feature._finish(feature._frames_to_features(signal[:, starts[:, None] + within]), None)
        return subtract_mean(features, None) if self.mean_norm else features


def at_level(waveforms: Tensor, level_db: float) -> Tensor:
    """[B, T], each row amplified to an RMS of `level_db` dB full scale; digital silence stays as it is."""
    mean_square = waveforms.square().mean(dim=1, keepdim=True)
    gain = (10.0 ** (level_db / 10.0) / mean_square).sqrt().clamp_max(10.0 ** (MAX_GAIN_DB / 20.0))
    return torch.where(mean_square > 0.0, waveforms * gain, waveforms)


class Spectrum(NamedTuple):
    """What stands for a complex tensor."""

    real: Tensor
    imag: Tensor


class PlainOperators(TorchFunctionMode):
    """Within it functions of the features that ONNX lacks are put together from those that it has.

    `torch.fft.rfft` multiplies with a matrix of cosines and sines and gives a :class:`Spectrum`; the remainder after
    division by a size takes the size as a tensor.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.fft.rfft:
            return _matrix_rfft(*args, **(kwargs or {}))
        if func is Tensor.remainder and isinstance(args[1], torch.SymInt):
            position, size = args
            size = torch.scalar_tensor(cast(int, size), dtype=position.dtype, device=position.device)
            return torch.remainder(position, size)
        return func(*args, **(kwargs or {}))


def _matrix_rfft(frames: Tensor, n: int) -> Spectrum:
    """frames [..., N], N ≤ n -> real and imaginary parts [..., n // 2 + 1] of their n-point Fourier transform."""
    bins = n // 2 + 1
    turns = np.outer(np.arange(frames.shape[-1]), np.arange(bins)) % n / n  # the whole ones left out: exact angles
    matrix = np.concatenate([np.cos(2.0 * np.pi * turns), -np.sin(2.0 * np.pi * turns)], axis=1)
    product = frames @ torch.from_numpy(matrix.astype(np.float32))
    return Spectrum(product[..., :bins], product[..., bins:])
