"""Which precision a run computes its forward passes in."""

import torch

from mvector.config import Config


def training_dtype(config: Config, device: torch.device) -> torch.dtype:
    """float32, or the 16-bit type that autocast is to use.

    `train_conf.enable_amp` True and False are obeyed; auto means 16 bits where the device computes `amp_dtype` itself
    rather than by emulating it, which would be slower than float32.
    """
    wanted: torch.dtype = getattr(torch, config.train_conf.amp_dtype)
    choice = config.train_conf.enable_amp
    if choice == "auto":
        choice = computes(wanted, device)
    return wanted if choice else torch.float32


def computes(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether `device` has arithmetic for the 16-bit `dtype`."""
    if device.type == "cuda":
        return dtype is torch.float16 or torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and dtype is torch.bfloat16:
        # torch has no public way to ask a CPU; where these names are missing, float32 is what always works.
        asks = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
        return any(ask is not None and ask() for ask in asks)
    return False


def name_of(dtype: torch.dtype) -> str:
    """'float32', 'bfloat16' or 'float16': the form in which the precision is stored with a model."""
    return str(dtype).removeprefix("torch.")
