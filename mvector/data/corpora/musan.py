"""MUSAN: noise, music and speech to mix into training recordings."""

from pathlib import Path

from mvector.data.corpora.base import AugmentationCorpus
from mvector.registry import CORPORA


@CORPORA.register("musan")
class Musan(AugmentationCorpus):
    """MUSAN (Snyder et al. 2015): noise 6 h, music 42 h, speech 60 h; CC BY 4.0 (OpenSLR 17).

    The noise part is what speaker recognition mixes in; nothing is copied, the augmentation file points to it.
    """

    homepage = "https://www.openslr.org/17/"
    layout = "musan/{noise,music,speech}/SOURCE/NAME.wav"
    folder_names = ("musan",)
    required = ("noise",)

    def sections(self, root: Path) -> dict[str, Path]:
        return {"noise.noise_dir": root / "noise"}
