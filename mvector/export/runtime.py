"""Running an exported model: onnxruntime or OpenVINO and NumPy, without torch."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mvector.config import Config, load_config
from mvector.errors import ConfigError, MissingPackageError, ModelError, TooShortError

MODEL, CONFIG, METRICS, WEIGHTS = "model.onnx", "config.yml", "metrics.json", "model.safetensors"
METADATA_KEY = "mvector"
BACKENDS = ("auto", "cpu", "openvino")

Run = Callable[[np.ndarray], np.ndarray]


class ExportedEmbedder:
    """Waveform -> embedding by one graph, or by one for the features and one for the network.

    Each waveform goes alone: that is the quickest on a CPU, and nothing has to be padded.
    """

    def __init__(self, graphs: Sequence[Run], embedding_size: int, min_samples: int, sample_rate_hz: int):
        self.graphs = graphs
        self.embedding_size, self.min_samples, self.sample_rate_hz = embedding_size, min_samples, sample_rate_hz

    def embed(self, waveforms: Sequence[np.ndarray], batch_size: int = 1) -> np.ndarray:
        """Embeddings [N, E] float32 of N waveforms (mono float32 at the model's rate and any level), in their order.

        Raises TooShortError for a waveform with fewer frames than the network needs.
        """
        embeddings = np.empty((len(waveforms), self.embedding_size), dtype=np.float32)
        for index, waveform in enumerate(waveforms):
            if len(waveform) < self.min_samples:
                rate = self.sample_rate_hz
                raise TooShortError(
                    f"the recording has {len(waveform) / rate:.3f} s of sound; this model needs at least "
                    f"{self.min_samples / rate:.3f} s. Record a longer one."
                )
            values = np.asarray(waveform, dtype=np.float32)[None]
            for graph in self.graphs:
                values = graph(values)
            embeddings[index] = values[0]
        return embeddings


@dataclass
class ExportedModel:
    """A loaded file: what a :class:`mvector.model_directory.ModelDirectory` tells, without torch."""

    path: Path
    embedder: ExportedEmbedder
    config: Config
    metrics: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Where what belongs to the model lies."""
        return self.path.parent

    @property
    def threshold(self) -> float | None:
        """The similarity at which development trials had their equal error rate; None if never evaluated."""
        return self.metrics.get("threshold")


def exported_file(path: str | os.PathLike[str]) -> Path | None:
    """The ONNX file that `path` means: itself, or the one of a folder without PyTorch weights; None: no such thing."""
    path = Path(path)
    if path.suffix == ".onnx":
        return path
    return path / MODEL if (path / MODEL).is_file() and is_whole_model(path / MODEL) else None


def is_whole_model(path: Path) -> bool:
    """Whether an ONNX file is the model of its folder, so that metrics.json, a cohort and the like there belong to it:
    it is named model.onnx, and no weights of PyTorch lie beside it."""
    return path.name == MODEL and not path.with_name(WEIGHTS).is_file()


def features_file(path: Path) -> Path:
    """The file that makes the features for the network in `path`."""
    return path.with_suffix(".features.onnx")


def load_exported(path: Path, device: str = "auto", use_gpu: bool | None = None) -> ExportedModel:
    """Read an ONNX file of :mod:`mvector.export`, or of others with a config.yml beside it.

    device: auto or cpu for onnxruntime, openvino for OpenVINO, which computes in bfloat16 where the processor can.
    The number of threads is that of OMP_NUM_THREADS, else all cores. Raises ModelError for a file that is missing,
    damaged or not described, ConfigError for another device, MissingPackageError without the package.
    """
    if device not in BACKENDS or use_gpu:
        asked = "use_gpu True" if use_gpu else f"device {device!r}"
        raise ConfigError(
            f"{asked}: an exported model runs on the processor. Use device auto, cpu or openvino here, or give the "
            "model directory, which runs on a GPU."
        )
    open_graph = _open_with_openvino if device == "openvino" else _open_with_onnxruntime
    run, rank, size, metadata = _opened(open_graph, path)
    if rank not in (2, 3) or size is None:
        raise ModelError(f"{path} is not a network from features or a waveform to embeddings of a fixed size.")
    config, metrics, min_samples = _description(path, metadata)
    graphs = [run]
    if rank == 3:
        beside = features_file(path)
        if not beside.is_file():
            raise ModelError(
                f"{path} takes features, and {beside.name}, which makes them, is not beside it. Copy both files, or "
                "export the model with --with_features, which makes one file of both."
            )
        graphs.insert(0, _opened(open_graph, beside)[0])
    rate = config.dataset_conf.dataset.sample_rate
    return ExportedModel(path, ExportedEmbedder(graphs, size, min_samples, rate), config, metrics)


def _description(path: Path, metadata: str | None) -> tuple[Config, dict[str, Any], int]:
    """The configuration, the metrics and the shortest waveform, as the file says or, for others' files, its folder."""
    config_file, metrics_file = path.with_name(CONFIG), path.with_name(METRICS)
    if metadata is not None:
        described = json.loads(metadata)
        metrics = described["metrics"]
        if is_whole_model(path) and metrics_file.is_file():  # chosen for this very file, after it was written
            metrics = json.loads(metrics_file.read_text(encoding="utf-8"))
        return load_config(described["config"], check_names=False), metrics, described["min_samples"]
    if not config_file.is_file():
        raise ModelError(
            f"{path} does not say how its features are made, and no {CONFIG} lies beside it. Export the model with "
            "tools/export.py."
        )
    metrics = json.loads(metrics_file.read_text(encoding="utf-8")) if metrics_file.is_file() else {}
    return load_config(config_file, check_names=False), metrics, metrics.get("min_samples", 1)


Opened = tuple[Run, int, int | None, str | None]  # how to run it, rank of its input, size of its output, our metadata


def _opened(open_graph: Callable[[Path], Opened], path: Path) -> Opened:
    if not path.is_file():
        raise ModelError(
            f"there is no exported model {path}. Make one: python tools/export.py --model_path DIR --to onnx"
        )
    try:
        return open_graph(path)
    except MissingPackageError:
        raise
    except Exception as error:
        raise ModelError(f"{path} cannot be read as an ONNX model: {' '.join(str(error).split())[:300]}") from error


def _open_with_onnxruntime(path: Path) -> Opened:
    try:
        import onnxruntime
    except Exception as error:
        raise _missing("onnxruntime", error) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads()
    options.log_severity_level = 3  # errors; it warns of what it optimises away
    # It would look among all results for one whose memory the next can take over. For ECAPA's graph the search takes
    # half of the loading and saves nothing: the memory of a result that is used up is free for the next one anyway.
    options.enable_mem_reuse = False
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (given,), (made,) = session.get_inputs(), session.get_outputs()

    def run(values: np.ndarray) -> np.ndarray:
        return session.run(None, {given.name: values})[0]

    size = made.shape[-1] if isinstance(made.shape[-1], int) else None
    return run, len(given.shape), size, session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)


def _open_with_openvino(path: Path) -> Opened:
    core = _openvino_core()
    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": _threads()}
    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        settings["INFERENCE_PRECISION_HINT"] = "bf16"
    model = core.read_model(str(path))
    compiled = core.compile_model(model, "CPU", settings)
    metadata = None
    if model.has_rt_info(["framework", METADATA_KEY]):
        metadata = model.get_rt_info(["framework", METADATA_KEY]).value
    last = model.output().get_partial_shape()[-1]
    size = last.get_length() if last.is_static else None
    return (lambda values: compiled([values])[0]), model.input().get_partial_shape().rank.get_length(), size, metadata


@cache
def _openvino_core() -> Any:
    """The one core of the process, kept to its end.

    Each core of OpenVINO gives the thread a stack for signal handlers. Of two cores, the second to go gives back the
    stack of the first, which is gone, and the process ends without a word at the next signal it handles.
    """
    try:
        import openvino
    except Exception as error:
        raise _missing("openvino", error) from error
    return openvino.Core()


def _threads() -> int:
    """The threads to use; 0 leaves the number to the runtime."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() else 0


def _missing(package: str, error: Exception) -> MissingPackageError:
    return MissingPackageError(
        f"running an exported model needs the package {package}, which cannot be imported ({error}): "
        f"pip install {package}"
    )
