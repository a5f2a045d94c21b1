"""The schema of the augmentation file: what is done to training utterances at random.

Each section is optional; one that is absent is off. The first five are those of the mvector 1.1 package.
"""

from typing import Literal

from pydantic import Field, model_validator

from mvector.config.section import Section, cross_check

_PROBABILITY = "Share of training utterances that get it, 0 to 1."


class SpeedConfig(Section):
    """Speed perturbation: played at 1.0 times the speed or at one of `speeds`, pitch included."""

    prob: float = Field(default=1.0, ge=0, le=1, description=_PROBABILITY)
    speeds: list[float] = Field(
        default=[0.9, 1.1], description="The other speeds: some of 0.8, 0.9, 1.1 and 1.2.", min_length=1
    )
    speed_perturb_3_class: bool = Field(
        default=False,
        description="Count a speaker at another speed as another speaker: with two other speeds three times as many "
        "classes.",
    )

    @model_validator(mode="after")
    def _check(self) -> "SpeedConfig":
        if len(set(self.speeds)) < len(self.speeds) or not {0.8, 0.9, 1.1, 1.2}.issuperset(self.speeds):
            cross_check("speeds", f"{self.speeds} are not different ones of 0.8, 0.9, 1.1 and 1.2")
        return self


class VolumeConfig(Section):
    """Random gain after the level normalisation; logarithm and `mean_norm` cancel it but for the floor."""

    prob: float = Field(default=0.0, ge=0, le=1, description=_PROBABILITY)
    min_gain_dBFS: float = Field(default=-15.0, description="Smallest gain (dB).")
    max_gain_dBFS: float = Field(default=15.0, description="Largest gain (dB).")

    @model_validator(mode="after")
    def _check(self) -> "VolumeConfig":
        if self.min_gain_dBFS > self.max_gain_dBFS:
            cross_check("min_gain_dBFS", f"{self.min_gain_dBFS} is more than max_gain_dBFS, {self.max_gain_dBFS}")
        return self


class NoiseConfig(Section):
    """Background noise from recordings."""

    prob: float = Field(default=0.5, ge=0, le=1, description=_PROBABILITY)
    noise_dir: str = Field(
        default="dataset/noise", description="Folder with recordings of noise; its subfolders count too."
    )
    min_snr_dB: float = Field(default=10.0, description="Smallest ratio of speech to noise (dB).")
    max_snr_dB: float = Field(default=50.0, description="Largest ratio of speech to noise (dB).")

    @model_validator(mode="after")
    def _check(self) -> "NoiseConfig":
        if self.min_snr_dB > self.max_snr_dB:
            cross_check("min_snr_dB", f"{self.min_snr_dB} is more than max_snr_dB, {self.max_snr_dB}")
        return self


class NoiseCategoryConfig(Section):
    """A category of noise, such as music or babble: `prob` of the utterances get `min_count` to `max_count` of its
    recordings, each at a ratio of its own. An utterance gets one category at most, `noise` included."""

    name: str = Field(default="noise", description="What it is called in messages.")
    prob: float = Field(default=0.2, ge=0, le=1, description=_PROBABILITY)
    noise_dir: str | None = Field(
        default=None, description="Folder with its recordings; its subfolders count too. Null: see the next two."
    )
    noise_list: str | None = Field(
        default=None,
        description="A list of its recordings instead: a path in every line, up to the first tab; data lists are such.",
    )
    source: Literal["files", "training"] = Field(
        default="files",
        description="training: its recordings are the utterances of other speakers in the training list, for babble.",
    )
    min_snr_dB: float = Field(default=0.0, description="Smallest ratio of speech to each recording (dB).")
    max_snr_dB: float = Field(default=15.0, description="Largest ratio of speech to each recording (dB).")
    min_count: int = Field(default=1, ge=1, description="Fewest recordings for an utterance.")
    max_count: int = Field(default=1, ge=1, description="Most recordings for an utterance.")

    @model_validator(mode="after")
    def _check(self) -> "NoiseCategoryConfig":
        if self.min_snr_dB > self.max_snr_dB:
            cross_check("min_snr_dB", f"{self.min_snr_dB} is more than max_snr_dB, {self.max_snr_dB}")
        if self.min_count > self.max_count:
            cross_check("min_count", f"{self.min_count} is more than max_count, {self.max_count}")
        given = (self.noise_dir is not None) + (self.noise_list is not None) + (self.source == "training")
        if given != 1:
            cross_check(
                "noise_dir",
                f"{given} of noise_dir, noise_list and `source: training` are given for {self.name}; "
                "exactly one is needed",
            )
        return self


class ReverbConfig(Section):
    """Reverberation: the utterance convolved with a room's impulse response."""

    prob: float = Field(default=0.5, ge=0, le=1, description=_PROBABILITY)
    reverb_dir: str = Field(
        default="dataset/reverb", description="Folder with impulse responses; its subfolders count too."
    )
    simulate: int = Field(
        default=0,
        ge=0,
        description="So many rooms are simulated into `reverb_dir` at the first use where that folder does not exist; "
        "needs the package pyroomacoustics. 0: it must exist.",
    )


class SpecAugConfig(Section):
    """SpecAugment: bands of bins and stretches of frames set to the mean (Park 2019)."""

    prob: float = Field(default=0.5, ge=0, le=1, description=_PROBABILITY)
    freq_mask_ratio: float = Field(
        default=0.1, ge=0, le=1, description="Widest frequency mask, as a share of the bins."
    )
    n_freq_masks: int = Field(default=1, ge=0, description="Frequency masks on an utterance.")
    time_mask_ratio: float = Field(default=0.05, ge=0, le=1, description="Longest time mask, as a share of the frames.")
    n_time_masks: int = Field(default=1, ge=0, description="Time masks on an utterance.")
    max_time_warp: int = Field(
        default=0, ge=0, description="Farthest shift of a point in time (frames); 0: no warping."
    )


class ChannelConfig(Section):
    """Another recording channel: a random band limit and smooth equalisation, so that the network cannot tell speakers
    by their microphones."""

    prob: float = Field(default=0.5, ge=0, le=1, description=_PROBABILITY)
    min_bandwidth_Hz: float = Field(default=3000.0, gt=0, description="Lowest upper band limit (Hz).")
    max_bandwidth_Hz: float = Field(default=8000.0, gt=0, description="Highest upper band limit (Hz).")
    max_low_cut_Hz: float = Field(default=300.0, ge=0, description="Highest lower band limit (Hz); the lowest is 0.")
    max_tilt_dB: float = Field(default=10.0, ge=0, description="Largest gain or loss of the equalisation curve (dB).")

    @model_validator(mode="after")
    def _check(self) -> "ChannelConfig":
        if self.min_bandwidth_Hz > self.max_bandwidth_Hz:
            cross_check(
                "min_bandwidth_Hz", f"{self.min_bandwidth_Hz} is more than {self.max_bandwidth_Hz}, the maximum"
            )
        if self.max_low_cut_Hz >= self.min_bandwidth_Hz:
            cross_check(
                "max_low_cut_Hz", f"{self.max_low_cut_Hz} is not under min_bandwidth_Hz, {self.min_bandwidth_Hz}"
            )
        return self


class AugmentationConfig(Section):
    """All augmentations; `load_augmentation` makes one. A section that is absent (null) is off."""

    speed: SpeedConfig | None = Field(default=None, description="Speed perturbation.")
    volume: VolumeConfig | None = Field(default=None, description="Random gain.")
    noise: NoiseConfig | None = Field(default=None, description="Background noise.")
    noises: list[NoiseCategoryConfig] = Field(
        default_factory=list,
        description="Noise by category, each with the keys of `noises` below; beside `noise`, or in place of it.",
    )
    reverb: ReverbConfig | None = Field(default=None, description="Reverberation.")
    channel: ChannelConfig | None = Field(default=None, description="Another recording channel.")
    spec_aug: SpecAugConfig | None = Field(default=None, description="Masks on the features.")

    @model_validator(mode="after")
    def _check(self) -> "AugmentationConfig":
        probs = [category.prob for category in self.noises] + ([self.noise.prob] if self.noise else [])
        if self.noises and sum(probs) > 1 + 1e-9:
            cross_check(
                "noises",
                f"the prob of all categories and of noise add up to {sum(probs):g}, but an utterance gets one at most: "
                "they may add up to 1",
            )
        return self
