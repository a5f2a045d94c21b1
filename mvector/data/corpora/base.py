"""What every corpus has in common: where it comes from, what its folder looks like, which recordings are in it.

A new corpus is one file with one class:

    @CORPORA.register("mycorpus")
    class MyCorpus(Corpus):
        '''What it is, its licence.'''

        homepage = "https://…"
        layout = "mycorpus/wav/SPEAKER/NAME.wav"
        required = ("wav",)

        def utterances(self, root):
            for speaker in subfolders(root / "wav"):
                for path in sound_files(speaker):
                    yield Recording(path, speaker.name)
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

from mvector.errors import DataListError

SOUND_SUFFIXES = frozenset(
    (
        *(".wav", ".flac", ".ogg", ".opus", ".oga", ".mp3", ".m4a", ".aac", ".mp4", ".webm"),
        *(".sph", ".nist", ".aif", ".aiff", ".au", ".wma", ".amr"),
    )
)
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".zip", ".tar", ".7z")
SPLITS = ("train", "dev", "enroll", "test")


class Recording(NamedTuple):
    """One recording of a corpus. gender: 'm', 'f' or None; split: the official one of SPLITS, None if there is none."""

    path: Path
    speaker: str
    gender: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class OfficialTrials:
    """A corpus's own trial list: (is target, enrollment, test path) each; an enrollment is a path or a key of the map.

    `enroll_map` gives the recordings of each enrolled model; `used` are all the recordings that the trials name.
    """

    name: str
    trials: Iterable[tuple[bool, str, str]]
    used: frozenset[Path]
    enroll_map: dict[str, list[Path]] = field(default_factory=dict)


class Corpus:
    """A folder of recordings with a known layout. Subclasses state the facts and implement `utterances`."""

    homepage: ClassVar[str] = ""  # the official page to download from
    layout: ClassVar[str] = ""  # one line for error messages
    folder_names: ClassVar[tuple[str, ...]] = ()  # what the archives unpack to; --root may be its parent
    required: ClassVar[tuple[str, ...]] = ()  # files and folders without which it is not this corpus
    trial_lists: ClassVar[dict[str, str]] = {}  # name → file of each official trial list, the usual one first

    def utterances(self, root: Path) -> Iterator[Recording]:
        """Every recording below `root` (as `locate` found it), in a fixed order."""
        raise NotImplementedError

    def locate(self, root: str | Path) -> Path:
        """The corpus folder: `root` itself or a folder in it with the archive's name.

        Raises DataListError which names what is missing, the layout and the page to download from.
        """
        root = Path(root)
        # The folders with the corpus's own name first: beside them in `root` there may be other corpora.
        candidates = [*(found for name in self.folder_names if (found := entry(root, name)) is not None), root]
        missing = [self._missing(candidate) for candidate in candidates]
        for candidate, lacks in zip(candidates, missing, strict=True):
            if lacks is None:
                return candidate
        raise self.error(f"{missing[0]} is missing")

    def recordings(self, root: str | Path) -> list[Recording]:
        """`utterances` of the checked folder as a list; raises DataListError when there are none."""
        folder = self.locate(root)
        found = list(self.utterances(folder))
        if not found:
            archives = next(_archives(folder), None)
            hint = f"unpack the archives inside it first ({archives} for one)" if archives else "it is empty"
            raise self.error(f"no recordings were found in {folder}: {hint}")
        return found

    def trials(self, root: str | Path, recordings: Sequence[Recording], name: str) -> OfficialTrials:
        """The official trial list `name`, one of `trial_lists`."""
        raise NotImplementedError

    def trial_list_file(self, root: str | Path, name: str) -> Path | None:
        """The file of official trial list `name`: in the corpus, in its folder `meta`, or beside it."""
        folder = self.locate(root)
        for place in (folder, folder / "meta", Path(root), folder.parent):
            path = place / self.trial_lists[name]
            if path.is_file():
                return path
        return None

    def error(self, what: str) -> DataListError:
        """A DataListError that says `what` is wrong, and what the corpus should look like."""
        expected = f"{type(self).__name__}: {what}. Expected layout: {self.layout}."
        return DataListError(expected + (f" Download: {self.homepage}" if self.homepage else ""))

    def _missing(self, folder: Path) -> Path | None:
        if not folder.is_dir():
            return folder
        return next((folder / name for name in self.required if entry(folder, name) is None), None)


class AugmentationCorpus(Corpus):
    """Sounds to mix into training recordings, not voices to train on: the augmentation file points to its folders."""

    def sections(self, root: Path) -> dict[str, Path]:
        """Key of the augmentation file (`noise.noise_dir`, `reverb.reverb_dir`) → folder to set it to."""
        raise NotImplementedError

    def utterances(self, root: Path) -> Iterator[Recording]:
        """Every sound; the 'speaker' is the section that it is for ('noise', 'reverb')."""
        for key, folder in self.sections(root).items():
            yield from (Recording(path, key.split(".")[0]) for path in sound_files(folder))


def entry(folder: Path, name: str) -> Path | None:
    """`folder/name`, upper and lower case not told apart when there is no exact match; None if it does not exist."""
    if (folder / name).exists():
        return folder / name
    for part in Path(name).parts:
        if not folder.is_dir():
            return None
        matches = sorted(child for child in folder.iterdir() if child.name.lower() == part.lower())
        if not matches:
            return None
        folder = matches[0]
    return folder


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder`, by name; an empty list if it does not exist."""
    return sorted(child for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []


def sound_files(folder: Path) -> Iterator[Path]:
    """Every sound file below `folder`, by name; hidden files and folders are passed over."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SOUND_SUFFIXES:
                yield Path(parent, name)


def read_table(path: Path, separator: str | None = None) -> Iterator[list[str]]:
    """The columns of each line of a UTF-8 text file that is not blank."""
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for line in file:
            if line.strip():
                yield [column.strip() for column in line.rstrip("\r\n").split(separator)]


def gender_letter(text: str) -> str | None:
    """'m' or 'f' for 'M', 'male', 'Female', …; None for anything else."""
    letter = text.strip().lower()[:1]
    return letter if letter in ("m", "f") else None


def _archives(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in sorted(names):
            if name.lower().endswith(ARCHIVE_SUFFIXES):
                yield Path(parent, name)
