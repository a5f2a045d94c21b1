"""speechocean762: Mandarin speakers, half of them children, read English on phones."""

from collections.abc import Iterator
from pathlib import Path

from mvector.data.corpora.base import Corpus, Recording, entry, gender_letter, read_table
from mvector.registry import CORPORA


@CORPORA.register("speechocean762")
class Speechocean762(Corpus):
    """speechocean762 (Zhang et al. 2021): 250 speakers of 20 recordings, 5.6 h, free for any use (OpenSLR 101).

    125 speakers to train on and 125 to test with, in Kaldi tables: wav.scp, utt2spk and spk2gender.
    """

    homepage = "https://www.openslr.org/101/"
    layout = "speechocean762/{train,test}/{wav.scp,utt2spk,spk2gender} and WAVE/SPEAKERNNNN/NAME.WAV"
    folder_names = ("speechocean762",)
    required = ("WAVE", "train/wav.scp", "train/utt2spk", "test/wav.scp", "test/utt2spk")

    def utterances(self, root: Path) -> Iterator[Recording]:
        for split in ("train", "test"):
            speakers = {row[0]: row[1] for row in read_table(root / split / "utt2spk")}
            gender_table = root / split / "spk2gender"
            genders = {row[0]: row[1] for row in read_table(gender_table)} if gender_table.is_file() else {}
            for utterance, name in read_table(root / split / "wav.scp"):
                path = entry(root, name)
                if path is None:
                    raise self.error(f"{root / name}, named in {split}/wav.scp, is missing")
                speaker = speakers[utterance]
                yield Recording(path, speaker, gender_letter(genders.get(speaker, "")), split)
