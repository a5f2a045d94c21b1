"""A program of its own that speaks a list of sentences with eSpeak NG; `mvector.data.synthesis` runs it.

    python -I espeak_worker.py < job.json > sound

eSpeak NG keeps its state (glottal phase, flutter, echo, noise) in globals of the library that neither a new voice nor
`espeak_Terminate` resets, so that the same sentence comes out differently after another one. One short process for each
speaker makes a corpus of the same bytes whatever the order and the number of processes. It imports nothing but the
standard library, so that it starts in some 20 ms, and never the program that asked for the sound.

Standard input: JSON {"library": path, "data_folder": path of espeak-ng-data, "sentences": [{"voice", "text", "rate",
"pitch", "pitch_range"}, …]}. Standard output: int32 sample rate in hertz, then for each sentence int32 number of
samples and the int16 samples, all in the machine's byte order. Status 1 with one line on standard error when it fails.
"""

import ctypes
import json
import os
import sys
from array import array

# From eSpeak NG's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2  # speaks at once; retrieval (1) waits for a thread of its own, four times as long
_DO_NOT_EXIT_ON_ERROR = 0x8000
_POSITION_CHARACTER = 1
_CHARACTERS_UTF8 = 1
_RATE, _VOLUME, _PITCH, _PITCH_RANGE = 1, 2, 3, 4

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def _speak(library: ctypes.CDLL, chunks: list[bytes], sentence: dict) -> bytes:
    """The int16 samples of one sentence as bytes."""
    if library.espeak_SetVoiceByName(sentence["voice"].encode()) != 0:
        raise SystemExit(f"eSpeak NG has no voice {sentence['voice']!r}")
    parameters = {_RATE: "rate", _PITCH: "pitch", _PITCH_RANGE: "pitch_range"}
    for number, name in parameters.items():
        library.espeak_SetParameter(number, sentence[name], 0)
    library.espeak_SetParameter(_VOLUME, 80, 0)
    text = sentence["text"].encode() + b"\0"
    chunks.clear()
    # A failed call leaves no samples, which the caller reports with the sentence.
    library.espeak_Synth(text, len(text), 0, _POSITION_CHARACTER, 0, _CHARACTERS_UTF8, None, None)
    return b"".join(chunks)


def main() -> None:
    job = json.load(sys.stdin)
    try:
        library = ctypes.CDLL(job["library"])
    except OSError as error:
        raise SystemExit(f"the eSpeak NG library does not load: {error}") from error
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    # eSpeak NG cuts a data path off at 160 bytes and takes it in the ANSI code page on Windows; "." avoids both.
    os.chdir(os.path.dirname(job["data_folder"]))
    sample_rate_hz = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, b".", _DO_NOT_EXIT_ON_ERROR)
    if sample_rate_hz <= 0:
        raise SystemExit(f"eSpeak NG does not start with the voice data in {job['data_folder']}")

    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # by itself it takes the time of day
    chunks: list[bytes] = []

    @_Callback
    def collect(samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    library.espeak_SetSynthCallback(collect)
    output = sys.stdout.buffer
    output.write(array("i", [sample_rate_hz]).tobytes())
    for sentence in job["sentences"]:
        samples = _speak(library, chunks, sentence)
        output.write(array("i", [len(samples) // 2]).tobytes() + samples)
    output.flush()


if __name__ == "__main__":
    main()
