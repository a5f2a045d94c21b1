"""ONNX files of a model: its graph, what describes it, and the proof that it computes what torch does.

torch has two exporters. The older one traces: it needs no more than the package onnx, but writes the example's sizes
into the file wherever Python looks at one, and is deprecated. The one over `torch.export` is used here: sizes stay
symbols, a size that got fixed is noticed, and it exists from torch 2.6 on. Its price is the package onnxscript.
"""

import contextlib
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

import mvector
from mvector.audio import normalize_level
from mvector.embedder import SpeakerEmbedder
from mvector.errors import MissingPackageError, ModelError
from mvector.export.graphs import (
    EMBEDDING,
    FEATURES,
    TOLERANCE,
    WAVEFORM,
    difference,
    features_graph,
    least_length,
    network_graph,
    require_equal,
)
from mvector.export.int8 import artificial_voice, quantized
from mvector.export.runtime import METADATA_KEY, features_file
from mvector.export.sherpa import sherpa_metadata
from mvector.features import AudioFeaturizer
from mvector.model_directory import ModelDirectory

OPSET = 18  # what torch's exporter writes unconverted; onnxruntime has it since 1.14
_FRONT_END_PREFIX = "front_end/"


def export_onnx(
    model: ModelDirectory, output: str | os.PathLike[str], with_features: bool = False, int8: bool = False
) -> list[str]:
    """Write `model`, loaded on the CPU, to the ONNX file `output`; batch size and length are free, the opset is 18.

    It takes the features [B, F, D] and gives embeddings [B, E]. With it goes a second file, `NAME.features.onnx`: from
    a waveform [B, T] in [-1, 1] at the model's rate and any level to these features. `with_features` makes one file of
    both: waveform in, embedding out. `int8` stores the network's weights as 8-bit integers and multiplies with them.

    Returns sentences that the person should read, such as how far sherpa-onnx can run the file. Raises ModelError for a
    model that cannot be exported or whose file computes something else than torch, MissingPackageError without the
    packages of the extra `export`.
    """
    require_packages()
    target, embedder, dataset = Path(output), model.embedder, model.config.dataset_conf.dataset
    network, least_frames = network_model(embedder.backbone, embedder.featurizer.feature_size)
    notes = []
    if int8:
        network, told = quantized(network, _voice_features(model), _runner)
        notes.append(told)
    front_end = None
    try:
        front_end = front_end_model(embedder.featurizer, dataset.target_dB if dataset.use_dB_normalization else None)
    except ModelError as error:
        if with_features:
            raise
        notes.append(f"the file takes features and can be run by programs that make them: {error}")
    described = {
        "version": mvector.__version__,
        "min_samples": _min_samples(embedder, least_frames),
        "config": {
            "dataset_conf": {"dataset": dataset.model_dump()},
            "preprocess_conf": model.config.preprocess_conf.model_dump(),
            "model_conf": {"model": model.config.model_conf.model, "model_args": model.config.model_conf.model_args},
        },
        "metrics": model.metrics,
    }
    metadata = {METADATA_KEY: json.dumps(described, ensure_ascii=False)}
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = features_file(target)
    if with_features and front_end is not None:
        save(merged(front_end, network), target, metadata)
        beside.unlink(missing_ok=True)  # of an earlier export without
        return notes
    entries, limits = sherpa_metadata(model.config, embedder.backbone.embd_dim, model.metrics)
    save(network, target, metadata | entries)
    if front_end is not None:
        save(front_end, beside, {})
    return notes + limits


def require_packages() -> None:
    """Raise MissingPackageError unless the packages that make ONNX files can be imported."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except Exception as error:
            raise MissingPackageError(
                f"exporting to ONNX needs the package {package}, which cannot be imported ({error}): "
                "pip install onnx onnxscript onnxruntime"
            ) from error


def network_model(backbone: Any, feature_size: int) -> tuple[Any, int]:
    """The `onnx.ModelProto` of a backbone and the least number of frames that it is right for."""
    graph = network_graph(backbone, feature_size)
    model = onnx_model(graph, FEATURES, EMBEDDING)
    run = _runner(model)

    def error(batch: int, frames: int) -> float:
        features = torch.randn(batch, frames, feature_size, generator=torch.Generator().manual_seed(frames))
        with torch.inference_mode():
            return difference(run(features.numpy()), backbone(features).numpy())

    # The graph's own bound is cautious: it stands where any size on the way would become 1.
    least = backbone.min_frames if error(1, backbone.min_frames) <= TOLERANCE else least_length(graph)
    require_equal(max(error(1, least), error(3, least + 210)), f"the backbone {type(backbone).__name__}")
    return model, least


def front_end_model(featurizer: AudioFeaturizer, level_db: float | None) -> Any:
    """The `onnx.ModelProto` from waveforms [B, T] to features [B, F, D]; `level_db` as in `features_graph`."""
    model = onnx_model(features_graph(featurizer, level_db), WAVEFORM, FEATURES)
    waveform = np.random.default_rng(0).normal(0.0, 0.1, 16000 + featurizer.min_samples).astype(np.float32)
    levelled = waveform if level_db is None else normalize_level(waveform, level_db)
    with torch.inference_mode():
        expected = featurizer(torch.from_numpy(levelled)[None])[0].numpy()
    found = _runner(model)(np.stack([waveform, waveform]))
    require_equal(difference(found, np.concatenate([expected, expected])), f"the feature {featurizer.feature_method}")
    return model


def onnx_model(program: ExportedProgram, input_name: str, output_name: str) -> Any:
    """The graph as an optimised `onnx.ModelProto` of ONNX's own operators."""
    from onnxscript import optimizer

    with _quiet():
        made = torch.onnx.export(
            program,
            (),
            dynamo=True,
            optimize=False,  # the exporter's own optimiser takes minutes for a network of a thousand layers
            opset_version=OPSET,
            input_names=[input_name],
            output_names=[output_name],
            verbose=False,
        )
        assert made is not None
        optimizer.fold_constants(made.model)  # turns sequences of tensors, which few runtimes have, into splits
        optimizer.remove_unused_nodes(made.model)
    model = _optimised(made.model_proto)
    model.producer_name, model.producer_version = "mvector", mvector.__version__
    return model


def _optimised(model: Any) -> Any:
    """`model` with constants folded and nothing computed twice, without torch's traces of this machine."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Basic: the levels above it put in operators that only onnxruntime has.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "model.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        optimised = onnx.load(options.optimized_model_filepath)
    used = {node.domain for node in optimised.graph.node}
    for opset in [opset for opset in optimised.opset_import if opset.domain not in used]:
        optimised.opset_import.remove(opset)
    del optimised.graph.value_info[:]  # some shapes are those from before the optimisation
    for entry in (*optimised.graph.node, *optimised.graph.initializer):
        del entry.metadata_props[:]
        entry.doc_string = ""
    return optimised


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the exporter tells of its inner life."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def merged(front_end: Any, network: Any) -> Any:
    """Two models as one: what `front_end` gives is what `network` takes."""
    from onnx import compose

    front_end = compose.add_prefix(front_end, _FRONT_END_PREFIX, rename_inputs=False, rename_outputs=False)
    return compose.merge_models(
        front_end,
        network,
        io_map=[(FEATURES, FEATURES)],
        producer_name=network.producer_name,
        producer_version=network.producer_version,
    )


def save(model: Any, path: Path, metadata: dict[str, str]) -> None:
    """Write `model` with `metadata` beside `path` and put it in place at once."""
    import onnx

    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(model.SerializeToString())
    os.replace(part, path)


def _min_samples(embedder: SpeakerEmbedder, frames: int) -> int:
    """The shortest waveform that gives so many frames."""
    samples = embedder.min_samples
    while embedder._frames(samples) < frames:
        samples += 1
    return samples


def _voice_features(model: ModelDirectory) -> list[np.ndarray]:
    """The features [1, F, D] of two artificial voices."""
    rate, dataset = model.embedder.featurizer.sample_rate_hz, model.config.dataset_conf.dataset
    voices = [artificial_voice(3.0, rate, pitch_hz, seed) for seed, pitch_hz in enumerate((110.0, 210.0))]
    if dataset.use_dB_normalization:
        voices = [normalize_level(voice, dataset.target_dB) for voice in voices]
    with torch.inference_mode():
        return [model.embedder.featurizer(torch.from_numpy(voice)[None])[0].numpy() for voice in voices]


def _runner(model: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda values: session.run(None, {name: values})[0]
