"""Products of frames with fixed weights, for inference: the weights are turned and laid out once."""

from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.models.layers import FrameConv


class Product:
    """x [..., K] -> x · weightᵀ + bias [..., N] in `dtype`, and its ReLU if asked for.

    On x86 CPUs the weights stay in oneDNN's own order, the bias stays float32, and ReLU is part of the product, as in
    what torch.compile makes; elsewhere it is the plain product.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, relu: bool = False):
        self.dtype = dtype
        self.relu = relu
        self.weight = weight.detach().to(dtype).contiguous()
        self.bias = None if bias is None else bias.detach().to(dtype)
        self.reordered = reorders(self.weight)
        if self.reordered:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight)
            self.bias = None if bias is None else bias.detach().float()

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        if self.reordered:
            after = "relu" if self.relu else "none"
            return cast(Tensor, torch.ops.mkldnn._linear_pointwise.default(x, self.weight, self.bias, after, [], ""))
        x = functional.linear(x, self.weight, self.bias)
        return x.relu_() if self.relu else x


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


class PreparedFrameConv(nn.Module):
    """:class:`FrameConv`, and its ReLU if asked for: one selection of frames and one product.

    `weight` [C_out, C_in, kernel] and `bias` stand for those of `conv`.
    """

    def __init__(
        self,
        conv: FrameConv,
        dtype: torch.dtype,
        relu: bool = False,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
    ):
        super().__init__()
        (self.kernel_size,), (self.dilation,), (self.stride,) = conv.kernel_size, conv.dilation, conv.stride
        self.zeros = conv.padding_mode == "zeros"
        weight, bias = (conv.weight, conv.bias) if weight is None else (weight, bias)
        self.product = Product(weight.transpose(1, 2).flatten(1), bias, dtype, relu)

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel_size == 1 and self.stride == 1:
            return self.product(x)
        batch, frames, channels = x.shape
        x = x.to(self.product.dtype)
        if self.zeros:
            x = functional.pad(x, (0, 0, 0, 1))  # one such frame serves all
        seen = x.index_select(1, taps(frames, self.kernel_size, self.dilation, self.stride, self.zeros, x.device))
        return self.product(seen.view(batch, -1, self.kernel_size * channels))


@lru_cache(maxsize=256)
def taps(frames: int, kernel_size: int, dilation: int, stride: int, zeros: bool, device: torch.device) -> Tensor:
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
