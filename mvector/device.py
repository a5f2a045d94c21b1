"""Which device computes: `auto`, `cpu`, `cuda[:n]` or `mps`, and the older yes/no `use_gpu`."""

import torch

from mvector.errors import ConfigError


def choose_device(device: str = "auto", use_gpu: bool | None = None) -> torch.device:
    """The torch device for a `--device` text; `use_gpu` (None: not said) narrows 'auto'.

    Raises ConfigError when a device is asked for that this machine does not have.
    """
    if use_gpu is not None and device == "auto":
        if use_gpu and not torch.cuda.is_available():
            raise ConfigError(
                "use_gpu is True, but PyTorch sees no CUDA GPU here. Leave use_gpu out (or --device auto) to use what "
                "there is, or install the CUDA build of PyTorch and the driver."
            )
        device = "cuda" if use_gpu else "cpu"
    if device == "auto":
        mps = torch.backends.mps.is_available()
        device = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {device!r}; expected auto, cpu, cuda, cuda:0 … or mps") from error
    if chosen.type == "cuda":
        count = torch.cuda.device_count()
        if count == 0:
            raise ConfigError(f"device {device!r}: PyTorch sees no CUDA GPU here; use --device auto or cpu")
        if (chosen.index or 0) >= count:
            raise ConfigError(f"device {device!r}: there are {count} GPUs here, numbered from 0")
    elif chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device 'mps' needs a Mac with Apple silicon; use --device auto or cpu")
    elif chosen.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"unknown device {device!r}; expected auto, cpu, cuda, cuda:0 … or mps")
    return chosen
