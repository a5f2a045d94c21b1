"""An embedder without a network: the mean magnitude in a few bands, which is quick and always the same."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile

from mvector.config import Config, load_config
from mvector.data.lists import Utterance

CONFIG: Config = load_config({}, check_names=False)


class BandEmbedder:
    """Takes what `mvector.embeddings.Embedder` takes; `heard` counts the waveforms."""

    embedding_size, min_samples = 6, 1600

    def __init__(self) -> None:
        self.heard = 0

    def embed(self, waveforms: Sequence[np.ndarray], batch_size: int = 1) -> np.ndarray:
        self.heard += len(waveforms)
        bands = [np.array_split(np.abs(np.fft.rfft(waveform)), self.embedding_size) for waveform in waveforms]
        return np.array([[band.mean() for band in of_one] for of_one in bands], dtype=np.float32)


def write_recordings(folder: Path, make_voice: Callable[..., np.ndarray], count: int) -> list[Utterance]:
    """`count` recordings of 0.5 s and more by two speakers, the second silent and the third cut from a longer one."""
    utterances = []
    for number in range(count):
        path = folder / f"{number}.wav"
        sound = 0.3 * make_voice(0.5 + 0.05 * number, seed=number)
        soundfile.write(path, np.zeros(8000) if number == 1 else sound, 16000, subtype="FLOAT")
        part = (0.1, 0.4) if number == 2 else (None, None)
        utterances.append(Utterance(str(path), "说话人" if number % 2 else "b", *part))
    return utterances
