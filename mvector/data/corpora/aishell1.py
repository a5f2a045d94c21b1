"""AISHELL-1: read Mandarin, 400 speakers."""

from collections.abc import Iterator
from pathlib import Path

from mvector.data.corpora.base import Corpus, Recording, entry, gender_letter, read_table, sound_files, subfolders
from mvector.registry import CORPORA


@CORPORA.register("aishell1")
class Aishell1(Corpus):
    """AISHELL-1 (Bu et al. 2017): 400 speakers, 178 h, Apache-2.0 (OpenSLR 33).

    340 speakers to train on, 40 for development, 20 for testing. Sex comes from resource_aishell/speaker.info, a
    separate download, if it lies beside data_aishell.
    """

    homepage = "https://www.openslr.org/33/"
    layout = "data_aishell/wav/{train,dev,test}/SNNNN/NAME.wav (the archives inside wav must be unpacked there)"
    folder_names = ("data_aishell",)
    required = ("wav/train", "wav/dev", "wav/test")

    def utterances(self, root: Path) -> Iterator[Recording]:
        genders = self._genders(root)
        for split in ("train", "dev", "test"):
            for speaker in subfolders(root / "wav" / split):
                gender = genders.get(speaker.name.lstrip("S"))
                yield from (Recording(path, speaker.name, gender, split) for path in sound_files(speaker))

    def _genders(self, root: Path) -> dict[str, str | None]:
        for place in (root, root.parent):
            table = entry(place, "resource_aishell/speaker.info")
            if table is not None:
                return {line[0].lstrip("S"): gender_letter(line[1]) for line in read_table(table) if len(line) > 1}
        return {}
