"""zhvoice: eight open Mandarin corpora, denoised and stripped of silence, as MP3."""

import json
from collections.abc import Iterator
from pathlib import Path

from mvector.data.corpora.base import Corpus, Recording, sound_files, subfolders
from mvector.registry import CORPORA


@CORPORA.register("zhvoice")
class Zhvoice(Corpus):
    """zhvoice: about 3,200 speakers, 1.13 million recordings, 900 h; each part has its source corpus's licence.

    text/infodata.json says, one JSON object a line, the file (`index`) and `speaker` of each recording; without it
    the folders PART/SPEAKER are the speakers. Speakers are called PART-SPEAKER. Sex is not told. Do not
    mix it with AISHELL-1, ST-CMDS, THCHS-30 or aidatatang_200zh, whose recordings are inside it under other names.
    """

    homepage = "https://github.com/fighting41love/zhvoice"
    layout = "zhvoice/{zhaishell,zhstcmds,…}/SPEAKER/NAME.mp3 and zhvoice/text/infodata.json"
    folder_names = ("zhvoice",)

    def _missing(self, folder: Path) -> Path | None:
        if not folder.is_dir():
            return folder
        # Its parts are all called zh…: a folder with none of them is something else.
        is_zhvoice = (folder / "text/infodata.json").is_file() or any(_parts(folder))
        return None if is_zhvoice else folder / "text/infodata.json"

    def utterances(self, root: Path) -> Iterator[Recording]:
        info = root / "text/infodata.json"
        if not info.is_file():
            for part in _parts(root):
                for folder in subfolders(part):
                    label = f"{part.name}-{folder.name}"
                    yield from (Recording(path, label) for path in sound_files(folder))
            return
        with open(info, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    item = json.loads(line)
                    index, speaker = str(item["index"]).replace("\\", "/"), str(item["speaker"])
                except (ValueError, KeyError, TypeError):
                    raise self.error(f"{info}:{number}: expected a JSON object with 'index' and 'speaker'") from None
                if (root / index).is_file():
                    yield Recording(root / index, f"{index.split('/')[0]}-{speaker}")


def _parts(folder: Path) -> list[Path]:
    return [part for part in subfolders(folder) if part.name.startswith("zh")]
