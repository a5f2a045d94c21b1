"""THCHS-30: read Mandarin news, 40 speakers, from Tsinghua University."""

from collections.abc import Iterator
from pathlib import Path

from mvector.data.corpora.base import Corpus, Recording, sound_files
from mvector.registry import CORPORA


@CORPORA.register("thchs30")
class Thchs30(Corpus):
    """THCHS-30 (Wang and Zhang 2015): 40 speakers, 13,388 recordings, 33 h, Apache-2.0 (OpenSLR 18).

    The sound is in data/; the folders train, dev and test hold links to it, which are lost when the archive is
    unpacked without them, so only their names are looked at. The official dev part has the speakers of the train part,
    which is of no use for verification: both are given as train here. Sex is not told.
    """

    homepage = "https://www.openslr.org/18/"
    layout = "data_thchs30/{data,train,dev,test}/ANN_NNN.wav"
    folder_names = ("data_thchs30",)
    required = ("data", "train", "test")

    def utterances(self, root: Path) -> Iterator[Recording]:
        tests = {path.name for path in (root / "test").glob("*.wav")}
        for path in sound_files(root / "data"):
            yield Recording(path, path.stem.split("_")[0], None, "test" if path.name in tests else "train")
