"""ONNX files that others exported from published networks, made ready to be run by :mod:`mvector.export.runtime`."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from mvector.config import Config
from mvector.embedder import SpeakerEmbedder
from mvector.errors import ModelError
from mvector.export.onnx_files import front_end_model, require_packages, save
from mvector.export.runtime import CONFIG, METRICS, MODEL, ExportedModel, features_file, load_exported
from mvector.model_directory import replace_directory, write_text

PROBED_FRAMES = 40  # the shortest input is looked for up to here; published networks need at most 16 frames


def import_onnx(
    source: Path, folder: Path, embedder: SpeakerEmbedder, config: Config, metrics: dict[str, Any]
) -> ExportedModel:
    """Write the directory `folder`: the file as it is, the graph of its features, config.yml and metrics.json.

    `embedder` is the same network here; its weights don't matter. Raises ModelError when the file is not a network
    from features of its size [B, F, D] to embeddings of its size [B, E], MissingPackageError without the packages of
    the extra `export`.
    """
    require_packages()
    frames = _Network(source, embedder.featurizer.feature_size, embedder.backbone.embd_dim).least_frames()
    samples = embedder.featurizer.min_samples
    while embedder._frames(samples) < frames:
        samples += 1
    dataset = config.dataset_conf.dataset
    front_end = front_end_model(embedder.featurizer, dataset.target_dB if dataset.use_dB_normalization else None)
    told = json.dumps(metrics | {"min_samples": samples}, indent=2, ensure_ascii=False)

    def fill(part: Path) -> None:
        shutil.copyfile(source, part / MODEL)
        save(front_end, features_file(part / MODEL), {})
        write_text(part / CONFIG, config.to_yaml())
        write_text(part / METRICS, told + "\n")

    replace_directory(folder, fill)
    return load_exported(folder / MODEL)


class _Network:
    """A file opened with onnxruntime: call(features [1, F, D]) -> [1, E]."""

    def __init__(self, path: Path, bins: int, embedding_size: int):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it says of damaged files is told by the error
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelError(f"{path} cannot be read as an ONNX model: {' '.join(str(error).split())[:300]}") from error
        self.path, self.bins = path, bins
        inputs = [list(given.shape) for given in self.session.get_inputs()]
        outputs = [list(made.shape) for made in self.session.get_outputs()]
        fits = len(inputs) == len(outputs) == 1 and len(inputs[0]) == 3 and inputs[0][2] in (bins, None)
        if not fits or not isinstance(outputs[0][-1], int) or outputs[0][-1] != embedding_size:
            raise ModelError(
                f"{path}: expected one input [batch, frames, {bins}] and one output [batch, {embedding_size}], found "
                f"inputs {inputs} and outputs {outputs}. Check the architecture and its arguments."
            )

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return self.session.run(None, {self.session.get_inputs()[0].name: features})[0]

    def least_frames(self) -> int:
        """The fewest frames from which on every embedding is finite."""
        features = np.random.default_rng(0).normal(size=(1, PROBED_FRAMES, self.bins)).astype(np.float32)
        least = PROBED_FRAMES + 1
        while least > 1 and self._works(features[:, : least - 1]):
            least -= 1
        if least > PROBED_FRAMES:
            raise ModelError(f"{self.path}: its embedding of {PROBED_FRAMES} frames is not finite.")
        return least

    def _works(self, features: np.ndarray) -> bool:
        try:
            return bool(np.isfinite(self(features)).all())
        except Exception:  # onnxruntime's own kinds, which it does not export
            return False
