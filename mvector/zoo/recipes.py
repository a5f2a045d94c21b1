"""What each family does to a recording before its networks: the right weights with other features are useless.

Sources: WeSpeaker's dataset/processor.py, 3D-Speaker's process/processor.py, the mvector package's configurations,
SpeechBrain's hyperparams.yaml of spkrec-ecapa-voxceleb, Resemblyzer's audio.py and voice_encoder.py.
"""

from dataclasses import dataclass, field
from typing import Any

from mvector.errors import ConfigError
from mvector.features.resemblyzer_mel import WINDOW_FRAMES, WINDOW_SHIFT

SAMPLE_RATE_HZ = 16000  # of every published network here


@dataclass(frozen=True)
class Recipe:
    """A family's own features, in the keys of our configuration.

    preprocess  `preprocess_conf`
    level_db    the level that every waveform is brought to first (RMS, dB full scale); None: as recorded
    model_args  arguments of our backbone that belong to the recipe, not to the network
    """

    preprocess: dict[str, Any]
    level_db: float | None = None
    model_args: dict[str, Any] = field(default_factory=dict)

    def sections(self) -> dict[str, Any]:
        """`dataset_conf` and `preprocess_conf` of a configuration."""
        dataset: dict[str, Any] = {"sample_rate": SAMPLE_RATE_HZ, "use_dB_normalization": self.level_db is not None}
        if self.level_db is not None:
            dataset["target_dB"] = self.level_db
        return {"dataset_conf": {"dataset": dataset}, "preprocess_conf": self.preprocess}


def family_recipe(family: str, bins: int) -> Recipe:
    """The recipe of a family's networks that take `bins` bins a frame. Raises ConfigError where there is none."""
    if family == "resemblyzer" and bins != 40:
        raise ConfigError(f"Resemblyzer's features have 40 bins; mel_n_channels cannot be {bins}.")
    return {
        "wespeaker": Recipe(_kaldi(bins, "hamming", 32768.0)),
        "3dspeaker": Recipe(_kaldi(bins, "povey", 1.0)),
        "mvector": Recipe(_kaldi(bins, "povey", 1.0), level_db=-20.0),
        "speechbrain": Recipe(
            {
                "feature_method": "SpeechBrainFbank",
                "method_args": {"sample_rate": SAMPLE_RATE_HZ, "n_mels": bins},
                "waveform_scale": 1.0,
                "mean_norm": True,
            }
        ),
        "resemblyzer": Recipe(
            {"feature_method": "ResemblyzerMel", "waveform_scale": 1.0, "mean_norm": False},
            model_args={"window_frames": WINDOW_FRAMES, "window_shift": WINDOW_SHIFT},
        ),
    }[family]


def _kaldi(bins: int, window: str, scale: float) -> dict[str, Any]:
    return {
        "feature_method": "Fbank",
        "method_args": {
            "sample_frequency": SAMPLE_RATE_HZ,
            "num_mel_bins": bins,
            "window_type": window,
            "dither": 0.0,
        },
        "waveform_scale": scale,
        "mean_norm": True,
    }
