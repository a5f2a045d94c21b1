"""Untrusted bytes: what is decoded, what is refused and how cheaply, and what becomes of a decoder that dies."""

import asyncio
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from mvector.audio import load_audio
from mvector.serve.decoder_process import decode
from mvector.serve.decoders import REFUSALS, DecoderPool
from mvector.serve.failures import RequestError
from tests.serve.sound_files import (
    RATE,
    WRITTEN,
    encoded,
    flac_of_silence,
    flac_that_claims,
    mutations,
    wav_that_claims,
)

LIMITS = {"sample_rate_hz": RATE, "max_duration_s": 10.0}


@pytest.fixture(scope="module")
def pool():
    pool = DecoderPool(1, RATE, max_duration_s=10.0, timeout_s=20.0, memory_mib=512)
    yield pool
    pool.close()


def ask(pool: DecoderPool, data: bytes):
    return asyncio.run(pool.decode(data))


def refusal(pool: DecoderPool, data: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        ask(pool, data)
    return caught.value


@pytest.mark.parametrize("kind", [*WRITTEN, "m4a", "webm"])
def test_every_format_is_decoded_as_the_library_does(pool, voice, kind):
    data = encoded(voice, kind)
    decoded = ask(pool, data)
    np.testing.assert_array_equal(decoded.waveform, load_audio(data, RATE, warnings=[]))
    assert decoded.duration_s == pytest.approx(3.0, abs=0.2)


def test_doubts_come_along_without_a_file_name(pool, make_voice):
    decoded = ask(pool, encoded(make_voice(2.0, 8000), "wav", 8000))
    (warning,) = decoded.warnings
    assert warning.startswith("the recording: recorded at 8000 Hz")
    assert len(decoded.waveform) == 2 * RATE


def test_what_is_no_sound_is_refused(pool):
    for data in (b"", b"x", b"no sound at all", b"\0" * 5000, b"<html></html>", b"PK\x03\x04" + b"\0" * 100):
        assert refusal(pool, data).kind == "unsupported_audio"
    error = refusal(pool, encoded(np.zeros(10), "wav"))
    assert (error.kind, error.status) == ("too_short", 422)


def test_ten_hours_in_a_small_file_are_refused_cheaply(pool, voice):
    claiming, silent = flac_that_claims(36000, voice), flac_of_silence(36000)
    assert len(claiming) < 100_000
    assert len(silent) < 2_000_000
    for data in (claiming, silent):
        started = time.perf_counter()
        error = refusal(pool, data)
        assert (error.kind, error.status) == ("too_long", 413)
        assert "says that it lasts 36000.0 s" in error.message
        assert time.perf_counter() - started < 2.0


def test_a_wav_that_claims_ten_hours_is_what_is_in_it(pool, voice):
    """libsndfile cuts the promise to the bytes that are there."""
    decoded = ask(pool, wav_that_claims(36000, voice))
    assert len(decoded.waveform) == len(voice)
    assert "truncated" in decoded.warnings[0]


def test_a_file_that_claims_less_than_it_has_is_not_decoded_beyond_the_limit(pool, make_voice):
    """FLAC with no length in its header: libsndfile calls that unknown."""
    data = flac_that_claims(0, make_voice(12.0))
    assert refusal(pool, data).kind == "too_long"
    decoded = ask(pool, flac_that_claims(0, make_voice(4.0)))
    assert len(decoded.waveform) in (4 * RATE - 1, 4 * RATE)  # libsndfile finds the end one sample early
    assert decoded.warnings == ()


def test_formats_beyond_recorders_are_refused(pool, voice):
    for header in ({"channels": 64}, {"rate_hz": 700_000}):
        assert refusal(pool, wav_that_claims(0.01, voice, **header)).kind in ("unusable_audio", "unsupported_audio")


DYING = """
import os, signal, sys, time
import mvector.serve.decoder_process as decoder
before = decoder.decode
def decode(data, *limits):
    if data == b"crash": os._exit(11)
    if data == b"hang": time.sleep(60)
    if data == b"memory": decoder.np.ones(1 << 40, decoder.np.uint8)
    if data == b"print": os.write(1, b"x" * 1000); print("y" * 1000); data = b""
    if data == b"fault": raise RuntimeError("/secret/path")
    return before(data, *limits)
decoder.decode = decode
decoder.main()
"""


@pytest.fixture
def dying_pool(monkeypatch):
    """A pool whose decoders do what the bytes say."""
    deaths: list[float] = []

    def start(self):
        command = [sys.executable, "-c", DYING, *self._arguments]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(DecoderPool, "_start", start)
    pool = DecoderPool(1, RATE, 10.0, timeout_s=1.0, memory_mib=512, on_death=lambda: deaths.append(time.monotonic()))
    yield pool, deaths
    pool.close()


def test_a_decoder_that_dies_hangs_or_fails_is_the_senders_fault_and_is_replaced(dying_pool, voice):
    pool, deaths = dying_pool
    good = encoded(voice, "wav")
    for data, died in ((b"crash", 1), (b"hang", 1), (b"memory", 0), (b"print", 0), (b"fault", 0)):
        before = len(deaths)
        error = refusal(pool, data)
        assert 400 <= error.status < 500
        assert "secret" not in error.message
        assert len(deaths) - before == died
        assert len(ask(pool, good).waveform) == 3 * RATE


def test_a_decoder_that_died_while_idle_costs_nobody_an_answer(pool, voice):
    process = pool._idle.get()
    process.kill()
    process.wait()
    pool._idle.put(process)
    assert len(ask(pool, encoded(voice, "flac")).waveform) == 3 * RATE


@pytest.mark.skipif(sys.platform != "linux", reason="needs a system package: Linux limits address space")
def test_memory_is_limited_by_the_system(voice):
    pool = DecoderPool(1, RATE, max_duration_s=3000.0, timeout_s=20.0, memory_mib=64)
    try:
        assert len(ask(pool, encoded(voice, "wav")).waveform) == 3 * RATE
        error = refusal(pool, encoded(np.tile(voice, 700), "wav"))  # 35 min: 135 MB as float32
        assert (error.status, error.kind) == (422, "unusable_audio")
        assert len(ask(pool, encoded(voice, "wav")).waveform) == 3 * RATE
    finally:
        pool.close()


def test_decoders_end_with_the_service():
    """Also when it was killed: the end of their input ends them."""
    code = (
        "import os, sys; from mvector.serve.decoders import REFUSALS, DecoderPool\n"
        "pool = DecoderPool(1, 16000, 10.0, 20.0, 512)\n"
        "print(pool._idle.get().pid, flush=True); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    pid = int(done.stdout)
    deadline = time.monotonic() + 60
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def fuzzed(pool: DecoderPool, seeds: dict[str, bytes], count: int) -> dict[str, int]:
    outcomes: dict[str, int] = {}
    for what, data in mutations(seeds, count):
        try:
            decoded = ask(pool, data)
            assert np.isfinite(decoded.waveform).all(), what
            assert len(decoded.waveform) <= 10.3 * RATE, what
            outcome, said = "decoded", " ".join(decoded.warnings)
        except RequestError as error:
            outcome, said = error.kind, error.message
        assert outcome == "decoded" or outcome in REFUSALS, what
        for leak in ("Traceback", os.sep + "home", os.sep + "work", os.sep + "usr", "site-packages", 'File "'):
            assert leak not in said, what
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert all(400 <= RequestError(kind, "").status < 500 for kind in REFUSALS)
    return outcomes


@pytest.fixture(scope="module")
def seeds(make_voice) -> dict[str, bytes]:
    return {kind: encoded(make_voice(1.0), kind) for kind in (*WRITTEN, "m4a", "webm")}


def test_damaged_files_are_decoded_or_refused(pool, seeds):
    outcomes = fuzzed(pool, seeds, 154)
    assert sum(outcomes.values()) == 154
    assert len(outcomes) >= 3, outcomes  # neither all fine nor all refused alike


@pytest.mark.slow
def test_thousands_of_damaged_files_are_decoded_or_refused(pool, seeds):
    assert sum(fuzzed(pool, seeds, 3080).values()) == 3080


def test_the_decoder_itself_answers_every_damaged_file(seeds):
    """In this process: nothing but the refusals it knows, so that a fault is not hidden behind its last resort."""
    for what, data in mutations(seeds, 77):
        header, waveform = decode(data, **LIMITS)
        assert (waveform is None) == ("error" in header), what
