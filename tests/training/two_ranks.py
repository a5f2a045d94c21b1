"""Two processes that train together, without torchrun: a function runs in both, and what they return is compared."""

import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def _run(number: int, ranks: int, store: str, function: Callable[..., Any], folder: Path, arguments: tuple) -> None:
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(number)
    torch.distributed.init_process_group(
        "gloo",
        init_method=Path(store).as_uri(),
        rank=number,
        world_size=ranks,
        timeout=datetime.timedelta(seconds=60),
    )
    result = function(number, *arguments)
    torch.save(result, folder / f"result-{number}.pt")
    torch.distributed.destroy_process_group()
    # As train.py ends: now and then a thread of torch outlives what it belongs to, which aborts the process.
    os._exit(0)


def run_ranks(function: Callable[..., Any], folder: Path, *arguments: Any, ranks: int = 2) -> list[Any]:
    """What `function(rank, *arguments)` returns in each of the processes; it is a function at the top of a module."""
    torch.multiprocessing.start_processes(
        _run,
        (ranks, str(folder / "store"), function, folder, arguments),
        nprocs=ranks,
        start_method="spawn",
    )
    return [torch.load(folder / f"result-{number}.pt", weights_only=True) for number in range(ranks)]
