"""The synthetic speakers of the quickstart's corpus, and one utterance of theirs.

A speaker is a fixed eSpeak NG variant, pitch, intonation range and vocal-tract length. Everything else changes from one
utterance to the next, so that a network has to learn the voice and cannot go by loudness, channel or language: text,
language (each speaker has three of six, so that a language never tells who speaks), rate, small changes of pitch, the
channel's colour, noise and level.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mvector.data.synthesis import Sentence, synthesize
from mvector.data.synthetic_sentences import PHRASES, draw_sentences

SAMPLE_RATE_HZ = 16000
MIN_DURATION_S, MAX_DURATION_S = 1.5, 4.0
UTTERANCES_PER_SPEAKER = 20
_FFT_SIZE = 65536  # a power of two over the longest utterance


def _variants(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


# Variants that are voices of their own: whispers, and those nearly the same as another one, are left out. Some pairs
# of the development and the test speakers are much alike on purpose, as people are.
TRAIN_VARIANTS = _variants(
    """Alex, Alicia, Andrea, AnxiousAndy, Denis, Diogo, Gene, Hugo, Jacky, Lee, Marco, Michael, Mike, Mr serious,
    Nguyen, Reed, RicishayMax, Storm, Tweaky, UniRobot, adam, anika, announcer, antonio, aunty, belinda, boris, david,
    ed, edward, edward2, f1, f3, f5, gustave, iven, iven2, john, kaukovalta, klatt, klatt3, klatt4, linda, m1, m3, m5,
    m6, m8, marcelo, max, michel, norbert, pablo, paul, quincy, robosoft, robosoft4, robosoft6, sandro, shelby, steph,
    travis, zac"""
)
DEV_VARIANTS = _variants(
    """Andy, Annie, RicishayMax2, f4, grandpa, iven3, klatt2, m2, mike2, miguel, robosoft3, robosoft5, steph2,
    victor"""
)
TEST_VARIANTS = _variants(
    """Mario, benjamin, croak, f2, grandma, ian, iven4, klatt5, m4, m7, pedro, robert, robosoft7, robosoft8"""
)
# Two training speakers share a variant, one with a longer and one with a shorter vocal tract.
_LONG_TRACT, _SHORT_TRACT = (0.86, 0.97), (1.03, 1.16)


@dataclass(frozen=True)
class SyntheticSpeaker:
    """What stays the same in all utterances of one speaker.

    tract_scale: all frequencies of the voice are multiplied by this number, as a shorter vocal tract does.
    """

    name: str
    number: int
    variant: str
    pitch: int
    pitch_range: int
    rate: int
    tract_scale: float
    languages: tuple[str, ...]


def demo_speakers(seed: int = 0) -> dict[str, list[SyntheticSpeaker]]:
    """The speakers of the subsets 'train', 'dev' and 'test'; no variant is in two of them."""
    rng = np.random.default_rng(seed)
    plan = {
        "train": [(variant, tract) for variant in TRAIN_VARIANTS for tract in (_LONG_TRACT, _SHORT_TRACT)],
        "dev": [(variant, (_LONG_TRACT, _SHORT_TRACT)[n % 2]) for n, variant in enumerate(DEV_VARIANTS)],
        "test": [(variant, (_LONG_TRACT, _SHORT_TRACT)[n % 2]) for n, variant in enumerate(TEST_VARIANTS)],
    }
    speakers: dict[str, list[SyntheticSpeaker]] = {subset: [] for subset in plan}
    everyone = [(subset, *voice) for subset, voices in plan.items() for voice in voices]
    for number, (subset, variant, tract) in enumerate(everyone, 1):
        speakers[subset].append(
            SyntheticSpeaker(
                name=f"{subset}-{number:03d}",
                number=number,
                variant=variant,
                pitch=int(rng.integers(30, 71)),
                pitch_range=int(rng.integers(30, 71)),
                rate=int(rng.integers(150, 190)),
                tract_scale=float(rng.uniform(*tract)),
                languages=tuple(str(name) for name in rng.choice(sorted(PHRASES), size=3, replace=False)),
            )
        )
    return speakers


def speak(speaker: SyntheticSpeaker, count: int = UTTERANCES_PER_SPEAKER, seed: int = 0) -> Iterator[np.ndarray]:
    """`count` utterances of `speaker`: float32 [T] in [-1, 1] at 16 kHz, 1.5–4 s long.

    They depend on the speaker and the seed alone: not on other speakers, nor on who else is generating at the time.
    """
    rng = np.random.default_rng([seed, speaker.number])
    sentences = _plan(speaker, count, rng)
    waveforms, espeak_rate_hz = synthesize(sentences)
    for waveform in waveforms:
        yield _record(waveform, espeak_rate_hz, speaker.tract_scale, rng)


def _plan(speaker: SyntheticSpeaker, count: int, rng: np.random.Generator) -> list[Sentence]:
    per_language = -(-count // len(speaker.languages))
    texts = [(language, text) for language in speaker.languages for text in draw_sentences(language, per_language, rng)]
    return [
        Sentence(
            voice=f"{language}+{speaker.variant}",
            text=text,
            rate=int(speaker.rate * rng.uniform(0.85, 1.2)),
            pitch=int(np.clip(speaker.pitch + rng.integers(-6, 7), 0, 99)),
            pitch_range=int(np.clip(speaker.pitch_range + rng.integers(-10, 11), 0, 99)),
        )
        for language, text in texts[:count]
    ]


def _record(waveform: np.ndarray, rate_hz: int, tract_scale: float, rng: np.random.Generator) -> np.ndarray:
    """From eSpeak NG's clean sound to a recording at 16 kHz: the speaker's tract, a random channel, noise and level."""
    import soxr

    waveform = _without_silence_at_ends(waveform)
    # Reading it as if it had been sampled faster moves pitch and formants together, as another size of speaker does.
    waveform = soxr.resample(waveform, rate_hz * tract_scale, SAMPLE_RATE_HZ)
    waveform = np.resize(waveform, max(len(waveform), int(MIN_DURATION_S * SAMPLE_RATE_HZ)))
    waveform = waveform[: int(MAX_DURATION_S * SAMPLE_RATE_HZ)].astype(np.float64)
    waveform = _colour(waveform, rng, deviation_db=6.0)
    noise = _colour(rng.standard_normal(len(waveform)), rng, deviation_db=10.0)
    snr_db = rng.uniform(5, 30)
    noise *= _rms(waveform) / _rms(noise) * 10 ** (-snr_db / 20)
    mixed = waveform + noise
    mixed *= 10 ** (rng.uniform(-32, -18) / 20) / _rms(mixed)
    return np.clip(mixed, -0.99, 0.99).astype(np.float32)


def _colour(waveform: np.ndarray, rng: np.random.Generator, deviation_db: float) -> np.ndarray:
    """Waveform [T] through a random smooth channel: normal gains of `deviation_db` at eight frequencies to 8 kHz."""
    spectrum = np.fft.rfft(waveform, _FFT_SIZE)
    gains_db = rng.normal(0, deviation_db, 8)
    gain_db = np.interp(np.linspace(0, 7, len(spectrum)), np.arange(8), gains_db)
    return np.fft.irfft(spectrum * 10 ** (gain_db / 20), _FFT_SIZE)[: len(waveform)]


def _rms(waveform: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(waveform)))) + 1e-12


def _without_silence_at_ends(waveform: np.ndarray) -> np.ndarray:
    loud = np.flatnonzero(np.abs(waveform) > 0.01 * np.abs(waveform).max())
    return waveform[loud[0] : loud[-1] + 1] if len(loud) else waveform
