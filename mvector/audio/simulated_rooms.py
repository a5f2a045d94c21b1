"""Room impulse responses for people who have recorded none: shoebox rooms by the image method (Allen 1979).

pyroomacoustics computes them: it is kept up, has wheels for every Python and system that this package runs on, and
besides NumPy needs only SciPy. (rir-generator has no wheels for newer Pythons, gpuRIR must be compiled for CUDA.)
"""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mvector.errors import MissingPackageError

SEED = 2006  # any number; the same rooms for everybody
SIZE_M = ((3.0, 10.0), (3.0, 8.0), (2.4, 4.0))  # length, width, height
RT60_S = (0.15, 0.8)  # reverberation time, from a furnished bedroom to a meeting room with bare walls
DISTANCE_M = (0.3, 4.0)  # from mouth to microphone
WALL_M = 0.3  # both keep so far from the walls
DURATION_S = 1.0
MAX_ORDER = 40  # reflections; more would take longer than the late tail is worth


def simulate_rooms(folder: Path, count: int, sample_rate_hz: int) -> None:
    """Write `count` responses, room00000.wav and so on, into `folder`, which appears when all are there.

    The same numbers give the same rooms. Raises MissingPackageError without pyroomacoustics.
    """
    import soundfile

    try:
        import pyroomacoustics
    except Exception as error:  # a build that does not fit this NumPy fails in its own ways
        raise MissingPackageError(
            "simulated rooms need the package pyroomacoustics (`pip install pyroomacoustics`), which cannot be "
            f"imported: {error}. Or give recorded impulse responses in reverb_dir."
        ) from error

    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        for number in tqdm(range(count), desc="simulating rooms", unit="room", disable=None, leave=False):
            response = _response(pyroomacoustics, np.random.default_rng((SEED, number)), sample_rate_hz)
            soundfile.write(unfinished / f"room{number:05d}.wav", response, sample_rate_hz, subtype="PCM_16")
        if not folder.exists():  # else another process was quicker, and wrote the same
            os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _response(pyroomacoustics, rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:  # type: ignore[no-untyped-def]
    """One response [T] float32 with a peak of 0.9."""
    while True:
        size = np.array([rng.uniform(*span) for span in SIZE_M])
        rt60_s = rng.uniform(*RT60_S)
        mouth, microphone = (rng.uniform(WALL_M, size - WALL_M) for _ in range(2))
        if not DISTANCE_M[0] <= np.linalg.norm(mouth - microphone) <= DISTANCE_M[1]:
            continue
        try:
            absorption, order = pyroomacoustics.inverse_sabine(rt60_s, size)
        except ValueError:  # so large a room cannot be so dry
            continue
        break
    room = pyroomacoustics.ShoeBox(
        size,
        fs=sample_rate_hz,
        materials=pyroomacoustics.Material(absorption),
        max_order=min(order, MAX_ORDER),
    )
    room.add_source(mouth)
    room.add_microphone(microphone)
    room.compute_rir()
    response = np.asarray(room.rir[0][0], dtype=np.float32)[: round(DURATION_S * sample_rate_hz)]
    return response * np.float32(0.9 / np.abs(response).max())
