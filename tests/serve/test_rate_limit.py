"""Rates: against counting by hand, and over several processes."""

import subprocess
import sys
import time

import numpy as np
import pytest

from mvector.serve.rate_limit import PERIOD_S, RateLimit


def test_a_quiet_client_may_ask_as_often_as_the_limit_says_at_once_and_then_waits():
    limit = RateLimit(6)
    assert [limit.take("a", 1000.0) for _ in range(6)] == [0.0] * 6
    assert limit.take("a", 1000.0) == pytest.approx(10.0)
    assert limit.take("a", 1004.0) == pytest.approx(6.0)  # being refused counts nothing
    assert limit.take("b", 1004.0) == 0.0
    assert limit.take("a", 1010.0) == 0.0
    assert limit.take("a", 1010.0) == pytest.approx(10.0)
    assert limit.take("a", 5000.0) == 0.0


def test_it_is_a_bucket_that_fills_steadily():
    """The same decisions as a bucket of tokens that is filled by `per_minute` tokens a minute."""
    rng = np.random.default_rng(0)
    for per_minute in (1, 5, 60):
        limit, tokens, last = RateLimit(per_minute), float(per_minute), 0.0
        for now in np.cumsum(rng.exponential(0.7 * PERIOD_S / per_minute, 400)):
            tokens = min(per_minute, tokens + (now - last) * per_minute / PERIOD_S)
            last = now
            wait_s = limit.take("a", float(now))
            if abs(tokens - 1.0) > 1e-6:
                assert (wait_s == 0.0) == (tokens > 1.0)
            if wait_s > 0.0:
                assert wait_s == pytest.approx((1.0 - tokens) * PERIOD_S / per_minute, abs=1e-4)
            else:
                tokens -= 1.0


def test_zero_is_no_limit_and_a_clock_set_back_locks_nobody_out():
    assert all(RateLimit(0).take("a") == 0.0 for _ in range(1000))
    limit = RateLimit(2)
    assert [limit.take("a", 1e6) for _ in range(2)] == [0.0, 0.0]
    assert 0.0 < limit.take("a", 0.0) <= PERIOD_S


def test_those_who_have_their_whole_allowance_are_forgotten():
    limit = RateLimit(1000)
    for index in range(1999):
        limit.take(f"client {index}", float(index))
    assert limit._database.execute("SELECT COUNT(*) FROM clients").fetchone()[0] < 1100


TAKE = """
import sys
from mvector.serve.rate_limit import RateLimit
limit = RateLimit(50, sys.argv[1])
print(sum(limit.take("a", 1000.0) == 0.0 for _ in range(40)))
"""


def test_processes_share_one_allowance(tmp_path):
    command = [sys.executable, "-c", TAKE, str(tmp_path / "速率.sqlite3")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    taken = [int(process.communicate(timeout=60)[0]) for process in running]
    assert sum(taken) == 50
    limit = RateLimit(50, tmp_path / "速率.sqlite3")
    started = time.perf_counter()
    for _ in range(100):
        limit.take("b")
    assert (time.perf_counter() - started) / 100 < 0.05
