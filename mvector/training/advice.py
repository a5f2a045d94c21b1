"""Failures of the machine rather than of the program, told as sentences with a remedy."""

import contextlib
from collections.abc import Iterator

import torch

from mvector.config import Config
from mvector.errors import MVectorError


@contextlib.contextmanager
def with_advice(config: Config, device: torch.device) -> Iterator[None]:
    """Meanwhile exhausted memory and a network that cannot be compiled become an MVectorError."""
    try:
        yield
    except RuntimeError as error:
        # A CPU's allocator raises no kind of its own.
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise MVectorError(
                f"{device} is out of memory. Lower dataset_conf.sampler.batch_size (and raise "
                "train_conf.accumulate_grad_batches as much) or dataset_conf.dataset.max_duration, or set "
                "train_conf.enable_amp to True."
            ) from error
        compiler = type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
        if not (config.train_conf.use_compile and compiler):
            raise
        raise MVectorError(
            f"torch.compile cannot compile this network here ({str(error).strip().splitlines()[0]}). It needs a C++ "
            "compiler, and Triton on a GPU; set train_conf.use_compile to False to train without."
        ) from error
