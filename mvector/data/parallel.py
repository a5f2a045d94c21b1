"""Running one function over many recordings in several processes, with a progress bar."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tqdm import tqdm

from mvector.errors import MVectorError

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 8  # recordings that a worker fetches at a time
FEWEST_FOR_PROCESSES = 64  # starting a process costs more than decoding a few recordings


def map_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], num_workers: int, description: str
) -> Iterator[Result]:
    """`function` of each item, in order. `function` must be importable by name: the processes are spawned.

    Raises MVectorError if a process is killed (too little memory, a crash of a decoder).
    """
    bar = tqdm(total=len(items), desc=description, unit="file", smoothing=0.05, disable=None)
    with bar:
        if num_workers <= 1 or len(items) < FEWEST_FOR_PROCESSES:
            for item in items:
                yield function(item)
                bar.update()
            return
        context = multiprocessing.get_context("spawn")  # the only way there is on Windows; threads survive no fork
        with ProcessPoolExecutor(num_workers, mp_context=context) as pool:
            try:
                for result in pool.map(function, items, chunksize=CHUNK):
                    yield result
                    bar.update()
            except BrokenProcessPool as error:
                raise MVectorError(
                    f"{description}: a worker process was killed after about {bar.n} of {len(items)} files, perhaps "
                    "for want of memory; try again with fewer --num_workers."
                ) from error
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
