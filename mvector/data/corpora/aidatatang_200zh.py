"""aidatatang_200zh: read Mandarin on phones, 600 speakers."""

from collections.abc import Iterator
from pathlib import Path

from mvector.data.corpora.base import Corpus, Recording, gender_letter, read_table, sound_files, subfolders
from mvector.registry import CORPORA


@CORPORA.register("aidatatang_200zh")
class Aidatatang200zh(Corpus):
    """aidatatang_200zh (Beijing DataTang): 600 speakers, 237,265 recordings, 200 h, CC BY-NC-ND 4.0 (OpenSLR 62).

    The archive holds one archive per speaker. Sex is read from a speaker's first .metadata file (its line `SEX`)
    where there is one.
    """

    homepage = "https://www.openslr.org/62/"
    layout = "aidatatang_200zh/corpus/{train,dev,test}/GNNNN/NAME.wav (unpack the archives inside corpus)"
    folder_names = ("aidatatang_200zh",)
    required = ("corpus/train", "corpus/dev", "corpus/test")

    def utterances(self, root: Path) -> Iterator[Recording]:
        for split in ("train", "dev", "test"):
            for speaker in subfolders(root / "corpus" / split):
                gender = self._gender(speaker)
                yield from (Recording(path, speaker.name, gender, split) for path in sound_files(speaker))

    def _gender(self, speaker: Path) -> str | None:
        metadata = min(speaker.rglob("*.metadata"), default=None)
        lines = read_table(metadata) if metadata else iter([])
        return next((gender_letter(line[1]) for line in lines if line[0] == "SEX" and len(line) > 1), None)
