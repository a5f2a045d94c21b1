"""VoxCeleb 2: more celebrities on YouTube, the usual training set; its sound is AAC."""

from pathlib import Path

from mvector.data.corpora.voxceleb1 import VoxCeleb, missing_speakers
from mvector.registry import CORPORA


@CORPORA.register("voxceleb2")
class VoxCeleb2(VoxCeleb):
    """VoxCeleb 2 (Chung et al. 2018): 6,112 speakers, 1,128,246 recordings, 2,442 h, CC BY 4.0.

    5,994 speakers to train on (dev) and 118 for testing; none of them is in VoxCeleb 1. The files are M4A, which needs
    `pip install av`; `--convert flac` once makes training several times faster. Sex comes from vox2_meta.csv.
    """

    homepage = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html"
    layout = "voxceleb2/{dev,test}/aac/idNNNNN/VIDEO/NNNNN.m4a, with vox2_meta.csv beside dev"
    folder_names = ("voxceleb2", "VoxCeleb2", "vox2")
    meta_file = "vox2_meta.csv"

    def _missing(self, folder: Path) -> Path | None:
        return missing_speakers(folder, "dev/aac")

    def _split(self, folder: Path, root: Path) -> str:
        above = folder.relative_to(root).parts[:-1]
        return "test" if any("test" in name.lower() for name in above) else "train"
