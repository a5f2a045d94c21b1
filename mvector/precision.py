"""What is computed with 16 bits, and what with more whatever autocast says."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def at_least_float32(x: Tensor) -> Tensor:
    """x in float32 where it comes in half precision; statistics and margins lose too much there."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Autocast off; where it is off already, nothing has to be done for that (a switch there and back takes 20 µs)."""
    return torch.autocast(device_type, enabled=False) if torch.is_autocast_enabled(device_type) else nullcontext()
