"""VoxCeleb 1: celebrities on YouTube; its trial lists O, E and H are the usual English evaluation."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from mvector.data.corpora.base import (
    Corpus,
    OfficialTrials,
    Recording,
    entry,
    gender_letter,
    read_table,
    sound_files,
    subfolders,
)
from mvector.registry import CORPORA

SPEAKER = re.compile(r"id\d{5}")


class VoxCeleb(Corpus):
    """What VoxCeleb 1 and 2 share: …/idNNNNN/VIDEO/NNNNN.wav in one or several folders, and a table of speakers."""

    meta_file: str
    split_names: ClassVar = {"dev": "train", "test": "test"}

    def utterances(self, root: Path) -> Iterator[Recording]:
        genders, splits = self._speakers(root)
        for folder in speaker_folders(root):
            speaker = folder.name
            split = splits.get(speaker) or self._split(folder, root)
            for path in sound_files(folder):
                yield Recording(path, speaker, genders.get(speaker), split)

    def _split(self, folder: Path, root: Path) -> str:
        raise NotImplementedError

    def _speakers(self, root: Path) -> tuple[dict[str, str | None], dict[str, str]]:
        """Speaker → sex and speaker → split of the table; both empty if it was not downloaded."""
        genders: dict[str, str | None] = {}
        splits: dict[str, str] = {}
        for place in (root, root / "meta", root.parent):
            table = entry(place, self.meta_file)
            if table is None:
                continue
            for line in read_table(table, separator="\n"):
                columns = [column.strip() for column in re.split(r"[\t,]", line[0])]
                if not SPEAKER.fullmatch(columns[0]):
                    continue  # the heading
                genders[columns[0]] = next((c for c in columns[1:] if c in ("m", "f")), None)
                if columns[-1] in self.split_names:
                    splits[columns[0]] = self.split_names[columns[-1]]
            break
        return {speaker: gender_letter(gender or "") for speaker, gender in genders.items()}, splits


@CORPORA.register("voxceleb1")
class VoxCeleb1(VoxCeleb):
    """VoxCeleb 1 (Nagrani et al. 2017): 1,251 speakers, 153,516 recordings, 352 h, CC BY 4.0.

    Speakers id10270–id10309 are the test part (list O). The lists E and H use all 1,251 speakers: whoever evaluates
    on those trains on VoxCeleb 2. Sex comes from vox1_meta.csv. The trial lists are separate downloads, to be put into
    the corpus folder; 'cleaned' ones are what published results are on (37,611, 579,818 and 550,894 trials).
    """

    homepage = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html"
    layout = "voxceleb1/…/wav/idNNNNN/VIDEO/NNNNN.wav, with vox1_meta.csv and the trial lists beside wav"
    folder_names = ("voxceleb1", "VoxCeleb1", "vox1")
    meta_file = "vox1_meta.csv"
    trial_lists: ClassVar = {
        "O-cleaned": "veri_test2.txt",
        "E-cleaned": "list_test_all2.txt",
        "H-cleaned": "list_test_hard2.txt",
        "O": "veri_test.txt",
        "E": "list_test_all.txt",
        "H": "list_test_hard.txt",
    }

    def _missing(self, folder: Path) -> Path | None:
        return missing_speakers(folder, "wav")

    def _split(self, folder: Path, root: Path) -> str:
        return "test" if "id10270" <= folder.name <= "id10309" else "train"

    def trials(self, root: str | Path, recordings: Sequence[Recording], name: str) -> OfficialTrials:
        list_file = self.trial_list_file(root, name)
        if list_file is None:
            raise self.error(f"the trial list {self.trial_lists[name]} ({name}) is missing in {root}")
        # A list says 'id10270/VIDEO/00001.wav' whatever folder that is in and even if it was converted to FLAC.
        paths = {"/".join(r.path.with_suffix("").parts[-3:]): r.path for r in recordings}
        trials: list[tuple[bool, str, str]] = []
        used: set[Path] = set()
        for number, (target, *names) in enumerate(read_table(list_file), 1):
            pair = [paths.get(name.rpartition(".")[0]) for name in names]
            if len(pair) != 2 or target not in ("0", "1"):
                raise self.error(f"{list_file}:{number}: expected '1|0 path path'")
            first, second = pair
            if first is None or second is None:
                raise self.error(f"{names[pair.index(None)]}, named in {list_file}:{number}, is missing")
            used.update((first, second))
            trials.append((target == "1", first.as_posix(), second.as_posix()))
        return OfficialTrials(f"VoxCeleb1-{name}", trials, frozenset(used))


def speaker_folders(root: Path) -> list[Path]:
    """Folders called idNNNNN at most three levels below `root`, by speaker (wav/, dev/wav/, vox1_dev_wav/wav/, …)."""
    found, level = [], [root]
    for _ in range(4):
        children = [child for folder in level for child in subfolders(folder)]
        found += [child for child in children if SPEAKER.fullmatch(child.name)]
        level = [child for child in children if not SPEAKER.fullmatch(child.name)]
    return sorted(found, key=lambda folder: (folder.name, folder))


def missing_speakers(root: Path, expected: str) -> Path | None:
    """None if there are speakers' folders below `root`, else the folder that should have them."""
    return None if root.is_dir() and speaker_folders(root) else (root / expected if root.is_dir() else root)
