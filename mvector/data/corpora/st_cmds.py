"""Free ST Chinese Mandarin Corpus (ST-CMDS): short phone recordings, 855 speakers."""

import re
from collections.abc import Iterator
from pathlib import Path

from mvector.data.corpora.base import Corpus, Recording, sound_files
from mvector.registry import CORPORA

# 20170001P00001A0001.wav: corpus, P and speaker, then A or I (Android or iOS) and the sentence.
NAME = re.compile(r"\d{8}(P\d{5})[A-Z]\d{4}", re.IGNORECASE)


@CORPORA.register("st_cmds")
class StCmds(Corpus):
    """ST-CMDS-20170001_1 (Surfingtech): 855 speakers, 102,600 recordings, 110 h, CC BY-NC-ND 4.0 (OpenSLR 38).

    One flat folder; the speaker stands in the file name. No official division, and sex is not told.
    """

    homepage = "https://www.openslr.org/38/"
    layout = "ST-CMDS-20170001_1-OS/20170001PNNNNNANNNN.wav"
    folder_names = ("ST-CMDS-20170001_1-OS",)

    def utterances(self, root: Path) -> Iterator[Recording]:
        for path in sound_files(root):
            match = NAME.fullmatch(path.stem)
            if match:
                yield Recording(path, match[1].upper())
