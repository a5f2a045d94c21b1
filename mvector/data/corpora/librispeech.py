"""LibriSpeech: English audiobooks, 2,484 readers."""

from collections.abc import Iterator
from pathlib import Path

from mvector.data.corpora.base import Corpus, Recording, gender_letter, read_table, sound_files, subfolders
from mvector.registry import CORPORA


@CORPORA.register("librispeech")
class LibriSpeech(Corpus):
    """LibriSpeech (Panayotov et al. 2015): 2,484 speakers, 292,367 recordings, 982 h, CC BY 4.0 (OpenSLR 12).

    Whichever of the seven parts were downloaded are used: train-*, dev-*, test-*; no speaker is in two of these kinds.
    Sex comes from SPEAKERS.TXT. Many readers recorded each book in one sitting: pairs from one chapter are easy.
    """

    homepage = "https://www.openslr.org/12/"
    layout = "LibriSpeech/{train-clean-100,dev-clean,test-clean,…}/SPEAKER/CHAPTER/NAME.flac and SPEAKERS.TXT"
    folder_names = ("LibriSpeech",)

    def _missing(self, folder: Path) -> Path | None:
        if not folder.is_dir():
            return folder
        return None if any(_parts(folder)) else folder / "train-clean-100"

    def utterances(self, root: Path) -> Iterator[Recording]:
        genders = self._genders(root / "SPEAKERS.TXT")
        for part in _parts(root):
            split = part.name.split("-")[0]
            for speaker in subfolders(part):
                gender = genders.get(speaker.name)
                yield from (Recording(path, speaker.name, gender, split) for path in sound_files(speaker))

    def _genders(self, table: Path) -> dict[str, str | None]:
        if not table.is_file():
            return {}
        rows = (row for row in read_table(table, "|") if len(row) > 2 and not row[0].startswith(";"))
        return {row[0]: gender_letter(row[1]) for row in rows}


def _parts(folder: Path) -> list[Path]:
    return [part for part in subfolders(folder) if part.name.split("-")[0] in ("train", "dev", "test")]
