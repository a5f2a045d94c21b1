"""A network's weights as 8-bit integers, as far as it bears them: a smaller and often faster file.

Matrix products are done in integers (onnxruntime's dynamic quantisation: the values are rounded while the network runs,
with one scale per tensor), which takes about half the time; weights of convolutions are multiplied out again before
use. How well a network bears that is its own matter: measured on real speech the cosine to float32 is 0.9999 for one
ECAPA-TDNN, 0.994 for a published CAM++, even when only the weights are rounded. The loss comes from few layers, and
losses add up. So it is measured for each part of the network on artificial voices, and the worst parts stay exact.
"""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LEAST_COSINE = 0.9997  # on the artificial voices; on real ones the loss was up to twice as large, so 0.999 is kept
PARTS = 12
SMALLEST_WEIGHT = 4096  # numbers; below it there is nothing to save

Run = Callable[[np.ndarray], np.ndarray]


def quantized(network: Any, features: list[np.ndarray], runner: Callable[[Any], Run]) -> tuple[Any, str]:
    """`network` (an `onnx.ModelProto`) with 8-bit weights where it bears them, and a sentence that tells how far.

    features: what to try it on, each [1, F, D]. runner: makes a function features -> embeddings [1, E] of a model.
    """
    embed = runner(network)
    exact = [embed(x)[0] for x in features]

    def cosine(model: Any) -> float:
        run = runner(model)
        return min(_cosine(run(x)[0], expected) for x, expected in zip(features, exact, strict=True))

    parts = _parts(network)
    ranked = sorted((1.0 - cosine(_in_integers(network, part)), part) for part in parts)
    total, chosen = 0.0, []
    for loss, part in ranked:
        total += loss
        if total <= 1.0 - LEAST_COSINE:
            chosen.append(part)
    made, reached = network, 1.0
    while chosen:
        made = _in_integers(network, [name for part in chosen for name in part])
        reached = cosine(made)
        if reached >= LEAST_COSINE:
            break
        chosen.pop()
        made, reached = network, 1.0
    sizes = {node.name: weight.size for node, weight in _weights(network)}
    share = sum(sizes[name] for part in chosen for name in part) / max(1, sum(sizes.values()))
    return made, (
        f"{100 * share:.0f} % of the weights are 8-bit integers, the others the network needs exactly; on artificial "
        f"voices the cosine to float32 is {reached:.5f}."
    )


def _parts(network: Any) -> list[list[str]]:
    """The names of the nodes that have a weight, in at most PARTS runs of neighbours."""
    names = [node.name for node, _ in _weights(network)]
    return [list(part) for part in np.array_split(names, min(PARTS, len(names))) if len(part)] if names else []


def _weights(network: Any) -> list[tuple[Any, np.ndarray]]:
    """Each node with a weight worth quantising, and that weight."""
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in network.graph.initializer}
    found = []
    for node in network.graph.node:
        if _has_weight(node) and node.input[1] in tensors:
            values = numpy_helper.to_array(tensors[node.input[1]])
            if values.dtype == np.float32 and values.size >= SMALLEST_WEIGHT:
                found.append((node, values))
    return found


def _in_integers(network: Any, names: list[str]) -> Any:
    """`network` with the weights of these nodes in 8 bits."""
    return _integer_products(_integer_weights(network, names), names)


def artificial_voice(duration_s: float, sample_rate_hz: int, pitch_hz: float, seed: int) -> np.ndarray:
    """A vowel-like sound float32 [T]: harmonics of a moving pitch through three moving formants, in syllables."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    pitch = pitch_hz * (1.0 + 0.15 * np.sin(2 * np.pi * 1.3 * t))
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate_hz
    formants = [
        centre * (1.0 + 0.3 * np.sin(2 * np.pi * rate * t + rng.uniform(0, 6)))
        for centre, rate in zip((550.0, 1500.0, 2600.0), (2.1, 1.7, 1.1), strict=True)
    ]
    voice = np.zeros(len(t))
    for k in range(1, int(0.45 * sample_rate_hz / pitch.max())):
        gain = sum(1.0 / (1.0 + ((k * pitch - formant) / 120.0) ** 2) for formant in formants)
        voice += gain * np.sin(k * phase + k) / k**0.3
    voice *= np.clip(np.sin(2 * np.pi * 3.5 * t) + 0.6, 0.0, 1.0)
    return (0.3 * voice / np.abs(voice).max() + 1e-3 * rng.standard_normal(len(t))).astype(np.float32)


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def _integer_products(network: Any, names: list[str]) -> Any:
    """The matrix products among the nodes `names` in integers, the values rounded while the network runs."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    chosen = set(names)
    products = [node.name for node in network.graph.node if node.name in chosen and node.op_type in ("MatMul", "Gemm")]
    if not products:
        return network
    copy = onnx.ModelProto()
    copy.CopyFrom(network)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises each time to optimise the model first, as was done
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            quantize_dynamic(copy, path, nodes_to_quantize=products, per_channel=True, weight_type=QuantType.QInt8)
            return onnx.load(path)
    finally:
        logging.disable(before)


def _integer_weights(network: Any, names: list[str]) -> Any:
    """The convolutions among the nodes `names` with integer weights, which are multiplied out again before use."""
    import onnx
    from onnx import helper, numpy_helper

    made = onnx.ModelProto()
    made.CopyFrom(network)
    tensors = {tensor.name: tensor for tensor in made.graph.initializer}
    chosen, restored = set(names), []
    for node in made.graph.node:
        if node.name not in chosen or node.op_type != "Conv" or node.input[1] not in tensors:
            continue
        tensor = tensors.pop(node.input[1])  # a weight of two nodes is stored once
        name, values = tensor.name, numpy_helper.to_array(tensor)
        scale = np.abs(values).max(axis=tuple(range(1, values.ndim))) / 127.0  # [output channels]
        scale[scale == 0.0] = 1.0
        rounded = np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
        tensor.CopyFrom(numpy_helper.from_array(rounded, f"{name}/int8"))
        made.graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}/scale"))
        inputs = [f"{name}/int8", f"{name}/scale"]
        restored.append(helper.make_node("DequantizeLinear", inputs, [name], f"{name}/from_int8", axis=0))
    for position, node in enumerate(restored):
        made.graph.node.insert(position, node)
    return made


def _has_weight(node: Any) -> bool:
    return node.op_type in ("MatMul", "Gemm", "Conv")
