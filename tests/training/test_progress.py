import os
import subprocess
import sys
import time

import pytest
import torch

from mvector.training.progress import Pace


def batches(count: int, seconds: float):
    for number in range(count):
        time.sleep(seconds)
        yield number


def test_the_stall_is_the_share_of_the_time_spent_waiting_for_the_loader():
    pace = Pace(torch.device("cpu"))
    for _ in pace.batches(batches(5, 0.06)):
        time.sleep(0.02)
        pace.examples += 7
    elapsed, stall = 35 / pace.utterances_per_s(), pace.stall()
    assert elapsed >= 5 * 0.08
    # Sleeping lasts at least as long as asked for; on a busy machine longer, on either side.
    assert 5 * 0.06 / elapsed - 0.01 <= stall <= 1 - 5 * 0.02 / elapsed + 0.01


def test_a_loader_that_is_always_ahead_stalls_nothing():
    pace = Pace(torch.device("cpu"))
    for _ in pace.batches(range(20)):
        time.sleep(0.005)
    assert pace.stall() < 0.05


def test_errors_of_the_loader_pass_through():
    def broken():
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(Pace(torch.device("cpu")).batches(broken()))


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell; needs the system package psapi")
def test_the_memory_is_that_of_this_process():
    """In a process of its own, and not a child of this one, which would begin with what this one has held."""
    code = (
        "import torch; from mvector.training.progress import memory_gib; cpu = torch.device('cpu')\n"
        "before = memory_gib(cpu); held = torch.ones(2**27); print(memory_gib(cpu) - before)"
    )
    command = ["sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, code]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert 0.45 <= float(done.stdout) <= 0.6  # half a GiB


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_stall_is_measured_on_its_own_clock():
    """The host asks long before the GPU has finished: that it then waits is no stall."""
    device = torch.device("cuda")
    x = torch.randn(4096, 4096, device=device)
    for wait, low, high in ((0.0, 0.0, 0.1), (0.2, 0.5, 1.0)):
        torch.cuda.synchronize()
        pace = Pace(device)
        for _ in pace.batches(batches(5, wait)):
            for _ in range(10):
                x @ x
        torch.cuda.synchronize()
        assert low <= pace.stall() <= high
