"""CN-Celeb 2: more Chinese celebrities, for training."""

from collections.abc import Iterator
from pathlib import Path

from mvector.data.corpora.base import Corpus, Recording, sound_files, subfolders
from mvector.registry import CORPORA


@CORPORA.register("cnceleb2")
class CNCeleb2(Corpus):
    """CN-Celeb 2 (Li et al. 2022): 1,996 speakers, 530,000 recordings, 1,090 h, CC BY-SA 4.0 (OpenSLR 82).

    Wholly for training; none of its speakers is in CN-Celeb 1.
    """

    homepage = "https://www.openslr.org/82/"
    layout = "CN-Celeb2_flac/data/idNNNNN/NAME.flac"
    folder_names = ("CN-Celeb2_flac", "CN-Celeb2_wav", "CN-Celeb2")
    required = ("data",)

    def utterances(self, root: Path) -> Iterator[Recording]:
        for speaker in subfolders(root / "data"):
            yield from (Recording(path, speaker.name, None, "train") for path in sound_files(speaker))
