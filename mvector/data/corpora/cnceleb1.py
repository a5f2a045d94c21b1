"""CN-Celeb 1: Chinese celebrities in eleven genres; the usual Chinese evaluation set."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from mvector.data.corpora.base import Corpus, OfficialTrials, Recording, read_table, sound_files
from mvector.registry import CORPORA

logger = logging.getLogger("mvector")


@CORPORA.register("cnceleb1")
class CNCeleb1(Corpus):
    """CN-Celeb 1 (Fan et al., ICASSP 2020): about 1,000 speakers, 130,000 recordings, 274 h, CC BY-SA 4.0 (OpenSLR 82).

    dev/dev.lst names the 797 speakers to train on. The other 196 are for evaluation: eval/test has 17,777 recordings,
    eval/lists/enroll.map names several recordings in data/ for each enrolled speaker (eval/enroll has them joined
    into one file, used where there is no map), eval/lists/trials.lst pairs each enrolled speaker with each test.
    """

    homepage = "https://www.openslr.org/82/"
    layout = "CN-Celeb_flac/{data/idNNNNN/NAME.flac, dev/dev.lst, eval/{enroll,test,lists}/…}"
    folder_names = ("CN-Celeb_flac", "CN-Celeb_wav", "CN-Celeb", "CN-Celeb1")
    required = ("data", "dev/dev.lst", "eval/test", "eval/lists/trials.lst")
    trial_lists: ClassVar = {"official": "eval/lists/trials.lst"}

    def utterances(self, root: Path) -> Iterator[Recording]:
        speakers = [row[0] for row in read_table(root / "dev/dev.lst")]
        missing = [speaker for speaker in speakers if not (root / "data" / speaker).is_dir()]
        if missing:
            logger.warning(
                f"{root / 'data' / missing[0]} is missing, and {len(missing)} of the {len(speakers)} speakers in "
                "dev/dev.lst altogether; unpack the archive again to train on all of them"
            )
        for speaker in speakers:
            for path in sound_files(root / "data" / speaker):
                yield Recording(path, speaker, None, "train")
        for model, paths in self._enrollment(root).items():
            yield from (Recording(path, model, None, "enroll") for path in paths)
        for path in sound_files(root / "eval/test"):
            yield Recording(path, path.name.split("-")[0], None, "test")

    def trials(self, root: str | Path, recordings: Sequence[Recording], name: str) -> OfficialTrials:
        folder = self.locate(root)
        enroll_map = self._enrollment(folder)
        found = [recording.path for recording in recordings if recording.split == "test"]
        tests = {path.stem: path.as_posix() for path in found}
        list_file = folder / self.trial_lists[name]

        def read() -> Iterator[tuple[bool, str, str]]:
            for model, test, target in read_table(list_file):
                model, stem = _model(model), test.rpartition("/")[2].rpartition(".")[0]  # 3.5 million times
                if model not in enroll_map or stem not in tests:
                    what = f"the enrollment {model}" if model not in enroll_map else f"the recording {test}"
                    raise self.error(f"{list_file} names {what}, which the corpus does not have")
                yield target in ("1", "target"), model, tests[stem]

        used = frozenset(path for paths in enroll_map.values() for path in paths) | frozenset(found)
        return OfficialTrials(f"CN-Celeb {name}", read(), used, enroll_map)

    def _enrollment(self, root: Path) -> dict[str, list[Path]]:
        """Speaker → the recordings to enroll."""
        map_file = root / "eval/lists/enroll.map"
        if not map_file.is_file():
            return {_model(path.stem): [path] for path in sound_files(root / "eval/enroll")}
        enroll_map: dict[str, list[Path]] = {}
        suffixes = (".flac", ".wav")  # the list may name the one, the folder have the other
        for model, *names in read_table(map_file):
            paths = [root / "data" / name for name in names]
            alternatives = [[path, *(path.with_suffix(suffix) for suffix in suffixes)] for path in paths]
            found = [next((path for path in choice if path.is_file()), None) for choice in alternatives]
            if None in found:
                raise self.error(f"{paths[found.index(None)]}, named in {map_file}, is missing")
            enroll_map[_model(model)] = [path for path in found if path is not None]
        return enroll_map


def _model(name: str) -> str:
    """The lists call a speaker's enrollment 'id00800-enroll' here and 'id00800' there."""
    return name.removesuffix("-enroll")
