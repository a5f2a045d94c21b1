"""A network's copy for inference in half precision: the same numbers up to rounding, with less work per utterance."""

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mvector.models.campplus import FrontEnd, ResidualBlock2d
from mvector.models.ecapa_inference import (
    PreparedAttentivePooling,
    PreparedSERes2NetBlock,
    PreparedTDNNBlock,
    join_norms_around_pooling,
    join_norms_of_first_block,
)
from mvector.models.ecapa_tdnn import EcapaTdnn, SERes2NetBlock
from mvector.models.ge2e import GE2E
from mvector.models.layers import FrameConv, TDNNBlock
from mvector.models.pooling import AttentiveStatisticsPooling
from mvector.models.products import PreparedFrameConv
from mvector.models.res2net_layers import Res2Block, Res2NetTrunk
from mvector.models.resnet import BasicBlock, Bottleneck, ResNet
from mvector.models.statistics_pooling import AttentiveStatisticsTanhPooling
from mvector.models.vlad_pooling import ResidualPooling

PREPARED: dict[type[nn.Module], Callable[[Any, torch.dtype], nn.Module]] = {
    FrameConv: PreparedFrameConv,
    TDNNBlock: PreparedTDNNBlock,
    SERes2NetBlock: PreparedSERes2NetBlock,
    AttentiveStatisticsPooling: PreparedAttentivePooling,
}
IN_FLOAT32 = (GE2E, ResidualPooling)  # whatever autocast says
# The forward of each computes bn1(conv1(x)) and the like for whatever it names so, and uses neither elsewhere.
NORMS_BEHIND_CONVOLUTIONS = tuple(
    kind.forward for kind in (BasicBlock, Bottleneck, ResNet, Res2Block, Res2NetTrunk, ResidualBlock2d, FrontEnd)
)


class InferenceCopy:
    """A network for inference under autocast to `dtype`, its products prepared once.

    Autocast alone turns all weights to `dtype` at every call, and each product lays them out once more. Norms keep
    float32 where they do not go into a product. The copy is made anew when the network has changed, in place as
    autograd counts it (what is written through `parameter.data` is not seen); a copy or pickle of this object starts
    without one, because prepared weights have neither.
    """

    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype
        self._copy: nn.Module | None = None
        self._network: nn.Module | None = None
        self._children: list[dict[str, nn.Module | None]] = []  # of each module of the network
        self._tensors: list[dict[str, Any]] = []
        self._state: tuple[list[int], ...] = ()
        self._is_complete = False  # without a parameter left to autocast: it would cost more than it does

    def __reduce__(self) -> tuple[Any, ...]:
        return InferenceCopy, (self.dtype,)

    def __call__(self, network: nn.Module, features: torch.Tensor) -> torch.Tensor:
        """What `network`, which is in evaluation mode, makes of `features`."""
        reduced = self.of(network)
        if self._is_complete:
            return cast(torch.Tensor, reduced(features))
        with torch.autocast(features.device.type, self.dtype):
            return cast(torch.Tensor, reduced(features))

    def of(self, network: nn.Module) -> nn.Module:
        """The copy of `network`, which is in evaluation mode."""
        if self._copy is None or self._network is not network or self._state != self._now():
            modules = list(network.modules())
            self._network = network
            self._children = [m._modules for m in modules if m._modules]
            self._tensors = [tensors for m in modules for tensors in (m._parameters, m._buffers) if tensors]
            self._state = self._now()
            with torch.no_grad(), torch.autocast(next(network.parameters()).device.type, enabled=False):
                self._copy = prepared(copy.deepcopy(network), self.dtype)
            self._is_complete = next(self._copy.parameters(), None) is None
        return self._copy

    def _now(self) -> tuple[list[int], ...]:
        """What changes whenever a module, parameter or buffer does; asked at every call, so it must take no time."""
        tensors = [
            tensor
            for tensors in self._tensors
            for name, tensor in tensors.items()
            if tensor is not None and name != "num_batches_tracked"  # which has no part in evaluation
        ]
        return (
            [id(module) for children in self._children for module in children.values()],
            [tensor.data_ptr() for tensor in tensors],
            [tensor._version for tensor in tensors],
        )


def prepared(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """What stands for `module` in the copy: something else, or itself with its children exchanged."""
    make = PREPARED.get(type(module))
    if make is not None:
        return make(module, dtype)
    if isinstance(module, IN_FLOAT32):
        return module
    if isinstance(module, _ConvNd | nn.Linear):
        return module.to(dtype)
    if isinstance(module, EcapaTdnn):
        join_norms_of_first_block(module, dtype)
        join_norms_around_pooling(module, dtype)
    join_norms(module)
    for name, child in module.named_children():
        if isinstance(module, AttentiveStatisticsTanhPooling):  # takes their weights apart
            child.to(dtype)
        else:
            setattr(module, name, prepared(child, dtype))
    return module


def join_norms(module: nn.Module) -> None:
    """Put the 2-D norms that `module` calls directly upon convolutions into those."""
    pairs: list[tuple[str, str]] = []
    names = [name for name, _ in module.named_children()]
    if type(module) is nn.Sequential:
        pairs = list(pairwise(names))
    elif type(module).forward in NORMS_BEHIND_CONVOLUTIONS:
        for name in (name for name in names if name.startswith("conv")):
            norm = name.replace("conv", "bn")
            children = getattr(module, name)
            several = range(len(children)) if isinstance(children, nn.ModuleList) else None
            pairs += [(name, norm)] if several is None else [(f"{name}.{i}", f"{norm}.{i}") for i in several]
    for name, norm in pairs:
        first, second = module.get_submodule(name), module.get_submodule(norm)
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            module.set_submodule(name, fuse_conv_bn_eval(first, second))
            module.set_submodule(norm, nn.Identity())
