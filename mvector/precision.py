"""What is computed with 16 bits, and what with more whatever autocast says."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def at_least_float32(x: Tensor) -> Tensor:
    """x in float32 where it comes in half precision; statistics and margins lose too much there."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class InferenceCopy:
    """A network for inference under autocast to `dtype`, with the weights of its products turned to `dtype` once.

    Autocast alone turns all of them at every call, which for one utterance of some seconds is a tenth of the work.
    Norms keep float32. The copy is made anew when the network's weights have changed.
    """

    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype
        self._state: tuple[int, ...] = ()
        self._copy: nn.Module | None = None

    def of(self, network: nn.Module) -> nn.Module:
        """The copy of `network`."""
        tensors = [*network.parameters(), *network.buffers()]
        state = (id(network), *(number for tensor in tensors for number in (tensor.data_ptr(), tensor._version)))
        if self._copy is None or state != self._state:
            self._copy, self._state = copy.deepcopy(network), state
            for module in self._copy.modules():
                if isinstance(module, _ConvNd | nn.Linear):
                    module.to(self.dtype)
        return self._copy
