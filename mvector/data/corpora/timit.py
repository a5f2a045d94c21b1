"""TIMIT: ten read English sentences of each of 630 speakers."""

from collections.abc import Iterator
from pathlib import Path

from mvector.data.corpora.base import Corpus, Recording, entry, gender_letter, sound_files, subfolders
from mvector.registry import CORPORA


@CORPORA.register("timit")
class Timit(Corpus):
    """TIMIT (LDC93S1, Garofolo et al. 1993): 630 speakers, 6,300 recordings, 5.4 h; an LDC licence is needed.

    462 speakers to train on, 168 to test with. The first letter of a speaker's name is the sex. The files are called
    .WAV and are NIST SPHERE inside; some copies have RIFF twins called .WAV.wav, which are then taken instead. Upper
    and lower case names both work.
    """

    homepage = "https://catalog.ldc.upenn.edu/LDC93S1"
    layout = "TIMIT/{TRAIN,TEST}/DRn/SPEAKER/NAME.WAV"
    folder_names = ("TIMIT", "timit/TIMIT", "data")
    required = ("TRAIN", "TEST")

    def utterances(self, root: Path) -> Iterator[Recording]:
        for split in ("train", "test"):
            part = entry(root, split)
            for region in subfolders(part) if part else []:
                for folder in subfolders(region):
                    speaker = folder.name.upper()
                    paths = list(sound_files(folder))
                    twins = {path.name.lower() for path in paths}
                    for path in paths:
                        if f"{path.name}.wav".lower() not in twins:
                            yield Recording(path, speaker, gender_letter(speaker), split)
