"""RIRS_NOISES: room impulse responses for reverberation, and point-source noises."""

from pathlib import Path

from mvector.data.corpora.base import AugmentationCorpus, entry
from mvector.registry import CORPORA


@CORPORA.register("rirs_noises")
class RirsNoises(AugmentationCorpus):
    """RIRS_NOISES (Ko et al. 2017): 60,000 simulated and 325 real room responses, Apache-2.0 (OpenSLR 28).

    The simulated rooms are what the field's recipes use (the folder of the real ones holds noises, too). Its
    point-source noises are MUSAN's: use them where MUSAN is not at hand.
    """

    homepage = "https://www.openslr.org/28/"
    layout = "RIRS_NOISES/{simulated_rirs/{small,medium,large}room/RoomNNN/NAME.wav, pointsource_noises/NAME.wav}"
    folder_names = ("RIRS_NOISES",)
    required = ("simulated_rirs",)

    def sections(self, root: Path) -> dict[str, Path]:
        sections = {"reverb.reverb_dir": root / "simulated_rirs"}
        noises = entry(root, "pointsource_noises")
        return sections | ({"noise.noise_dir": noises} if noises else {})
