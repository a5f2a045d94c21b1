"""The processes (ranks) that train one model together: which of them this is, and what they tell each other.

torchrun starts them, on one machine or several, and says through the environment who is who. Every function here does
nothing, or gives back what it was given, where there is only one process; torch.distributed, which some builds of
PyTorch lack, is then not touched. Between processors gloo carries the data, between GPUs NCCL.
"""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from mvector.errors import ConfigError, MVectorError, RankError
from mvector.training.stopping import Interrupted

logger = logging.getLogger("mvector")

T = TypeVar("T")

# How long a rank waits for the others: as long as the longest thing that one does alone (scoring millions of trials,
# writing a checkpoint to a slow disk). A process that dies is noticed at once, because its connections close.
TIMEOUT = timedelta(minutes=30)
REASON_WAIT = timedelta(seconds=3)  # for the reason that a dying rank leaves


def world_size() -> int:
    """How many processes train together; 1 outside :func:`joined`."""
    return torch.distributed.get_world_size() if _is_joined() else 1


def rank() -> int:
    """The number of this process, from 0; 0 outside :func:`joined`."""
    return torch.distributed.get_rank() if _is_joined() else 0


def is_first() -> bool:
    """Whether this is the process that logs, prints and writes files."""
    if _is_joined() or launched() == 1:
        return rank() == 0
    return os.environ.get("RANK", "0") == "0"


def launched() -> int:
    """How many processes torchrun has started; 1 where it has started none."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """The number of this process on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def device_of_rank(device: torch.device) -> torch.device:
    """The device of this process: `device` itself, or with several processes the GPU of that number.

    Raises ConfigError where there are fewer GPUs than processes, or one GPU is named for all.
    """
    if launched() == 1 or device.type == "cpu":
        return device
    if device.type != "cuda":
        raise ConfigError(f"several processes train on CPUs or CUDA GPUs, not on {device.type}: set --device cpu")
    if device.index is not None:
        raise ConfigError(
            f"--device {device} names one GPU for {launched()} processes: set --device cuda, which gives each its own, "
            "and choose the GPUs with CUDA_VISIBLE_DEVICES"
        )
    if local_rank() >= torch.cuda.device_count():
        raise ConfigError(
            f"process {local_rank()} of this machine (counted from 0) has no GPU of its own: PyTorch sees "
            f"{torch.cuda.device_count()}. Set torchrun's --nproc_per_node to at most that, or --device cpu"
        )
    return torch.device("cuda", local_rank())


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Meanwhile the processes that torchrun started can talk to each other; `device` is this one's.

    Where one of them fails, the others raise RankError with its reason; a sentence that all of them would say is left
    to the one that is first. A process group that the caller has made already is used and left as it is.
    """
    if launched() == 1 or _is_joined():
        yield
        return
    if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise ConfigError(
            f"the environment variable WORLD_SIZE asks for {launched()} processes, but {missing[0]} is not set: start "
            "them with torchrun, or unset WORLD_SIZE"
        )
    if not torch.distributed.is_available():
        raise ConfigError("this build of PyTorch lacks torch.distributed: start one process, `python train.py …`")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store = _join("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    if not is_first():
        logger.addFilter(_only_errors)
    try:
        yield
    except Interrupted:  # all of them, in agreement
        _ignore_sigterm()
        wait_for_all()
        torch.distributed.destroy_process_group()
        raise
    except Exception as error:
        # The group is not taken down here: NCCL would wait for the ranks that no longer answer.
        if isinstance(error, RankError):
            raise RankError(_who_ended(store)) from None
        if not _leave_reason(store, error) and isinstance(error, MVectorError):
            raise SystemExit(2) from None
        raise
    else:
        torch.distributed.destroy_process_group()
    finally:
        logger.removeFilter(_only_errors)


def all_sum(tensor: Tensor) -> Tensor:
    """The sum over the ranks, in place of `tensor`; a tensor of the CPU or of the rank's device."""
    if world_size() > 1:
        with _exchange():
            torch.distributed.all_reduce(tensor)
    return tensor


def total(number: int) -> int:
    """The sum of every rank's `number`."""
    return int(all_sum(torch.tensor(number)))


def all_max(tensor: Tensor) -> Tensor:
    """The greatest over the ranks, element by element, in place of `tensor`."""
    if world_size() > 1:
        with _exchange():
            torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX)
    return tensor


def stack(tensor: Tensor) -> Tensor:
    """Every rank's `tensor`, of one shape […] -> [ranks, …]."""
    if world_size() == 1:
        return tensor[None]
    parts = [torch.empty_like(tensor) for _ in range(world_size())]
    with _exchange():
        torch.distributed.all_gather(parts, tensor.contiguous())
    return torch.stack(parts)


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of all ranks, [n, …] with an n of each rank's own -> [sum of n, …], in order of the ranks.

    With gradients: what flows back to a rank's rows is the sum of what all ranks send there.
    """
    return _GatherRows.apply(rows) if world_size() > 1 else rows


def gather_rows_to_first(rows: Tensor) -> Tensor | None:
    """The rows of all ranks, as :func:`gather_rows`, on the CPU of the first rank; None on the others."""
    rows = rows.detach().cpu()
    if world_size() == 1:
        return rows
    counts = stack(torch.tensor(len(rows))).tolist()
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts] if is_first() else None
    with _exchange():
        torch.distributed.gather(padded, parts)
    return None if parts is None else torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def broadcast(value: T) -> T:
    """The first rank's `value` (anything that pickles)."""
    if world_size() == 1:
        return value
    values = [value]
    with _exchange():
        torch.distributed.broadcast_object_list(values, device=torch.device("cpu"))
    return values[0]


def first_tells_all(find: Callable[[], T]) -> T:
    """What `find` returns on the first rank, where alone it is called."""
    return broadcast(find() if is_first() else cast(T, None))


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors by those of the first rank."""
    if world_size() > 1:
        with _exchange():
            for tensor in tensors:
                torch.distributed.broadcast(tensor, 0)


def agreed(*flags: bool) -> list[bool]:
    """For each of some flags, whether any rank has it set."""
    return [bool(flag) for flag in all_max(torch.tensor(flags, dtype=torch.int32)).tolist()]


def gather(value: T) -> list[T]:
    """Every rank's `value` (anything that pickles) in a list, on every rank."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    with _exchange():
        torch.distributed.all_gather_object(values, value)
    return values


def wait_for_all() -> None:
    """Go on when every rank has come here."""
    all_sum(torch.zeros(1))


@contextlib.contextmanager
def first_of_machine_first() -> Iterator[None]:
    """What is inside is done by one process of each machine, then by the others, which find its files there."""
    if local_rank() > 0:
        wait_for_all()
    yield
    if local_rank() == 0:
        wait_for_all()


def share(items: int, of_rank: int, ranks: int) -> slice:
    """Which of `items` are a rank's: neighbours, and as many for each as for any other, or one more."""
    return slice(items * of_rank // ranks, items * (of_rank + 1) // ranks)


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its sum over the ranks, in one message per type.

    A parameter without a gradient on this rank but with one on another (a layer dropped at random) gets one; a
    parameter that no rank used keeps None, as in one process.
    """
    if world_size() == 1:
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    used = all_max(torch.tensor([parameter.grad is not None for parameter in trained], dtype=torch.int32))
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for parameter, of_any in zip(trained, used.tolist(), strict=True):
        if of_any:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            groups.setdefault((parameter.grad.dtype, parameter.grad.device), []).append(parameter.grad)
    for gradients in groups.values():
        joined_up = all_sum(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        parts = joined_up.split([gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        counts = stack(torch.tensor(len(rows))).tolist()
        ctx.start, ctx.count = sum(counts[: rank()]), len(rows)
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        return torch.cat([part[:count] for part, count in zip(stack(padded), counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return all_sum(gradients[0].clone())[ctx.start : ctx.start + ctx.count]


def _only_errors(record: logging.LogRecord) -> bool:
    """What every rank would say, the first one says for all."""
    return record.levelno >= logging.ERROR


def _is_joined() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _join(backend: str) -> Any:
    """Make the process group; returns the store in which ranks leave the reason of their end."""
    from torch.distributed import PrefixStore, init_process_group, rendezvous

    with _exchange():
        store, number, size = next(rendezvous("env://", timeout=TIMEOUT))
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # the store outlives a restart by torchrun
        init_process_group(
            backend, store=PrefixStore(f"ranks {attempt}", store), rank=number, world_size=size, timeout=TIMEOUT
        )
        reasons = PrefixStore(f"ended {attempt}", store)
        reasons.set_timeout(REASON_WAIT)
    return reasons


@contextlib.contextmanager
def _exchange() -> Iterator[None]:
    """Turns what torch raises where the others no longer answer into RankError."""
    try:
        yield
    except RuntimeError as error:  # gloo's, NCCL's and the store's errors are all of this kind
        _ignore_sigterm()
        raise RankError(f"another process no longer answers: {str(error).splitlines()[0]}") from error


def _ignore_sigterm() -> None:
    """torchrun ends all processes as soon as one has ended; what the others have still to say must get out first."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _leave_reason(store: Any, error: Exception) -> bool:
    """Tell the other ranks why this one ends; False when one has already left the same reason."""
    reason = str(error) if isinstance(error, MVectorError) else f"{type(error).__name__}: {error}"
    text = f"process {rank()} of {world_size()} (on {socket.gethostname()}) has ended: {reason}"
    with contextlib.suppress(RuntimeError):  # the store went with its machine
        left = store.compare_set("reason", "", text).decode("utf-8")
        return left == text or not left.endswith(f"has ended: {reason}")
    return True


def _who_ended(store: Any) -> str:
    with contextlib.suppress(RuntimeError):
        return store.get("reason").decode("utf-8")
    return (
        f"process {rank()} of {world_size()}: another process has ended and could not say why (killed, or out of "
        "memory); torchrun's report names it"
    )
