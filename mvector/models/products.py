"""Products of frames with fixed weights, for inference: the weights are turned and laid out once."""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.models.layers import FrameConv

After = Literal["none", "relu", "sigmoid"]


class Product:
    """x [..., K] -> x · weightᵀ + bias [..., N] in `dtype`, and what comes `after`: 'none', 'relu' or 'sigmoid'.

    On x86 CPUs the weights stay in oneDNN's own order, the bias stays float32, and what comes after is part of the
    product, as in what torch.compile makes; elsewhere it is the plain product.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, after: After = "none"):
        self.dtype = dtype
        self.after = after
        self.weight = weight.detach().to(dtype).contiguous()
        self.bias = None if bias is None else bias.detach().to(dtype)
        self.operator: Callable[..., Tensor] | None = None
        if reorders(self.weight):
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight)
            self.bias = None if bias is None else bias.detach().float()
            self.operator = torch.ops.mkldnn._linear_pointwise.default

    def __call__(self, x: Tensor) -> Tensor:
        if x.dtype is not self.dtype:  # to() alone takes its time, dozens of times in a network
            x = x.to(self.dtype)
        if self.operator is not None:
            return self.operator(x, self.weight, self.bias, self.after, [], "")
        x = functional.linear(x, self.weight, self.bias)
        return x if self.after == "none" else x.relu_() if self.after == "relu" else x.sigmoid_()


def reorders(weight: Tensor) -> bool:
    """Whether oneDNN can keep `weight` in its own order here."""
    operators = torch.ops.mkldnn
    return (
        weight.device.type == "cpu"
        and weight.dtype is torch.bfloat16
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability().startswith("AVX")
        and all(hasattr(operators, name) for name in ("_linear_pointwise", "_reorder_linear_weight"))
        and bool(operators._is_mkldnn_bf16_supported())
    )


class Taps:
    """What a :class:`FrameConv` sees at each of its frames: x [B, F, C] -> [B, ceil(F / stride), kernel · C]."""

    def __init__(self, conv: FrameConv):
        (self.kernel_size,), (self.dilation,), (self.stride,) = conv.kernel_size, conv.dilation, conv.stride
        self.zeros = conv.padding_mode == "zeros"

    def frames(self, x: Tensor) -> Tensor:
        """Their numbers; the same for every x of as many frames."""
        return tap_frames(x.shape[1], self.kernel_size, self.dilation, self.stride, self.zeros, x.device)

    def __call__(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        frames = self.frames(x) if frames is None else frames
        if self.zeros:
            x = functional.pad(x, (0, 0, 0, 1))  # one such frame serves all
        return x.index_select(1, frames).view(x.shape[0], -1, self.kernel_size * x.shape[2])


class PreparedFrameConv(nn.Module):
    """:class:`FrameConv` and what comes `after` it: one selection of frames and one product.

    `weight` [C_out, C_in, kernel] and `bias` stand for those of `conv`.
    """

    def __init__(
        self,
        conv: FrameConv,
        dtype: torch.dtype,
        after: After = "none",
        weight: Tensor | None = None,
        bias: Tensor | None = None,
    ):
        super().__init__()
        self.taps = Taps(conv)
        weight, bias = (conv.weight, conv.bias) if weight is None else (weight, bias)
        self.product = Product(weight.transpose(1, 2).flatten(1), bias, dtype, after)

    def forward(self, x: Tensor) -> Tensor:
        if self.taps.kernel_size > 1 or self.taps.stride > 1:
            x = self.taps(x.to(self.product.dtype))
        return self.product(x)


@lru_cache(maxsize=256)
def tap_frames(frames: int, kernel_size: int, dilation: int, stride: int, zeros: bool, device: torch.device) -> Tensor:
    """The frames that a convolution with "same" padding sees, int64 [ceil(F / stride) · kernel_size].

    Those before the first and after the last are reflected, or number `frames` where padding is by zeros.
    """
    offsets = (torch.arange(kernel_size) - kernel_size // 2) * dilation
    seen = torch.arange(0, frames, stride).unsqueeze(1) + offsets  # [ceil(F / stride), kernel_size]
    if zeros:
        seen[(seen < 0) | (seen >= frames)] = frames
    else:
        last = frames - 1
        seen = last - (last - seen.abs()).abs()
    return seen.flatten().to(device)
