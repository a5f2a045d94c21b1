"""Any tree with one folder per speaker: your own recordings."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from mvector.data.corpora.base import Corpus, Recording, sound_files, subfolders
from mvector.registry import CORPORA


@CORPORA.register("folder")
class FolderCorpus(Corpus):
    """One folder per speaker, named after the speaker; sound files at any depth below it.

    A tree that is already divided is recognised by folders called train, dev (or val, valid) and test, with the
    speakers' folders inside them. Sex is not known.
    """

    layout = "ROOT/SPEAKER/…/NAME.wav (any format), or ROOT/train|dev|test/SPEAKER/…/NAME.wav"

    SPLIT_FOLDERS: ClassVar = {"train": "train", "dev": "dev", "val": "dev", "valid": "dev", "test": "test"}

    def utterances(self, root: Path) -> Iterator[Recording]:
        folders = subfolders(root)
        divided = bool(folders) and all(folder.name.lower() in self.SPLIT_FOLDERS for folder in folders)
        for folder in folders:
            if folder.name.startswith("."):
                continue
            if not divided:
                yield from (Recording(path, folder.name) for path in sound_files(folder))
                continue
            split = self.SPLIT_FOLDERS[folder.name.lower()]
            for speaker in subfolders(folder):
                yield from (Recording(path, speaker.name, None, split) for path in sound_files(speaker))
