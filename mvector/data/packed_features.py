"""Features on disk: a folder with one matrix of frames that is memory-mapped, an index as text, and their recipe.

    features.npy   [N, D] float16 or float32, the frames of all utterances one after the other (NumPy's own format)
    index.tsv      a heading and U lines: path, speaker, start_s, end_s, first_frame, frames, failed
    meta.json      rows, frames, recipe; written last, so that a folder with it is whole

The mean over frames is not subtracted: training subtracts that of each crop, as it does for features of waveforms.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mvector.config import Config
from mvector.data.dataset import REPLACEMENT_TRIES, Augmentation, CropSettings, Example
from mvector.data.lists import Utterance
from mvector.data.samplers import Draw
from mvector.errors import AudioError, ConfigError, DataListError, TooShortError
from mvector.features import AudioFeaturizer

MATRIX, INDEX, META = "features.npy", "index.tsv", "meta.json"
FORMAT = "mvector features 1"
COLUMNS = ("path", "speaker", "start_s", "end_s", "first_frame", "frames", "failed")


def feature_recipe(config: Config) -> dict[str, Any]:
    """What of a configuration decides on features before their mean is subtracted, without defaults."""
    data = config.dataset_conf.dataset
    preprocess = config.preprocess_conf.model_dump(exclude_defaults=True)
    preprocess.pop("mean_norm", None)
    return {
        "preprocess_conf": preprocess,
        "sample_rate": data.sample_rate,
        "target_dB": data.target_dB if data.use_dB_normalization else None,
    }


def require_no_augmentation_of_sound(config: Config) -> None:
    """Raise ConfigError where the augmentation would change waveforms, which are not read any more."""
    found = []
    for name, sections in config.augmentation or ():
        some = sections if isinstance(sections, list) else [sections]  # categories of noise are several
        if name != "spec_aug" and any(one is not None and one.prob > 0 for one in some):
            found.append(name)
    if found:
        raise ConfigError(
            "dataset_conf.train_features holds features of the recordings as they are, but the augmentation asks for "
            f"{', '.join(found)}: set its prob to 0 (spec_aug may stay), or train from dataset_conf.train_list."
        )


def frame_counter(featurizer: AudioFeaturizer) -> Any:
    """The feature's `frame_count`. Raises ConfigError for features that have none or are trained."""
    if featurizer.trainable is None:
        feature: Any = featurizer.feature
        for one in (feature, *getattr(feature, "_native", ())):  # torchaudio's are built on ours, which know the sizes
            if hasattr(one, "frame_count"):
                return one.frame_count
    raise ConfigError(
        f"preprocess_conf.feature_method {featurizer.feature_method} cannot be computed ahead: it is trained with the "
        "network, or does not say how many frames a recording has. Train without dataset_conf.train_features."
    )


@dataclass(eq=False)
class PackedFeatures:
    """Features of U utterances in `folder`; those of a row are `first_frame[row]` and the `frames[row]` - 1 after it.

    reasons: row → why there are no features of it. recipe: see `feature_recipe`.
    """

    folder: Path
    utterances: list[Utterance]
    first_frame: NDArray[np.int64]
    frames: NDArray[np.int64]
    reasons: dict[int, str]
    recipe: dict[str, Any]

    @functools.cached_property
    def matrix(self) -> NDArray[Any]:
        """[N, D]; opened by each process for itself."""
        return np.load(self.folder / MATRIX, mmap_mode="r", allow_pickle=False)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "matrix"}  # not 100 GB to a worker

    def require_recipe(self, config: Config) -> None:
        """Raise DataListError where the features are not those that `config` describes."""
        wanted = json.loads(json.dumps(feature_recipe(config)))
        for key, value in wanted.items():
            if self.recipe.get(key) != value:
                raise DataListError(
                    f"{self.folder} has features of another recipe: {key} was {self.recipe.get(key)}, and the "
                    f"configuration says {value}. Extract them again (tools/extract_features.py) or change that."
                )


def load_features(folder: str | Path) -> PackedFeatures:
    """The packed features in `folder`; the matrix stays on the disk. Raises DataListError."""
    folder = Path(folder)
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataListError(
            f"{folder} holds no finished packed features (no {META}). Make them, or go on making them: python "
            f"tools/extract_features.py --configs CONFIG --output {folder}"
        ) from None
    except (OSError, ValueError) as error:
        raise DataListError(f"{folder / META} cannot be read ({error}).") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise DataListError(
            f"{folder / META} does not describe packed features of this version ('format': '{FORMAT}')."
        )
    try:
        packed = PackedFeatures(folder, *_read_index(folder / INDEX), meta["recipe"])
        shape = (len(packed.utterances), *packed.matrix.shape)
        if shape != (meta["rows"], meta["frames"], meta["dimension"]):
            raise ValueError(f"{shape[0]} rows and a matrix {shape[1:]}, where {META} says otherwise")
    except (OSError, ValueError, KeyError) as error:
        raise DataListError(
            f"{folder}: the packed features are damaged ({error}): delete the folder and extract them again."
        ) from error
    return packed


class PackedFeatureDataset(Dataset[Example]):
    """Random crops of features computed ahead: the same examples as those of a `TrainingDataset` without augmentation
    of the sound, except that a crop begins at a frame.

    Of `augmentation` only `spec_augment` is used (see `require_no_augmentation_of_sound`). An utterance without
    features is replaced by another one and reported, as a broken recording is.
    """

    def __init__(
        self,
        packed: PackedFeatures,
        classes: Mapping[str, int],
        crop: CropSettings,
        augmentation: Augmentation,
        seed: int,
        featurizer: AudioFeaturizer,
    ):
        self.packed, self.crop, self.augmentation, self.seed = packed, crop, augmentation, seed
        self.labels = np.array([classes[utterance.speaker] for utterance in packed.utterances], dtype=np.int64)
        self.num_classes = len(classes)
        self.mean_norm = featurizer.mean_norm
        count = frame_counter(featurizer)
        shortest = max(featurizer.min_samples, round(crop.min_duration_s * crop.sample_rate_hz))
        self.crop_frames, self.min_frames = count(torch.tensor([crop.samples, shortest])).tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, draw: Draw) -> Example:
        rng = np.random.default_rng((self.seed, *draw))
        index, skipped = draw.utterance, list[tuple[str, str]]()
        for _ in range(REPLACEMENT_TRIES):
            try:
                features = self._read_crop(index, rng.random())
            except AudioError as error:
                skipped.append((self.packed.utterances[index].path, str(error)))
                index = int(rng.integers(len(self)))
                continue
            spec_augment = self.augmentation.spec_augment
            draws = torch.zeros(0)
            if spec_augment is not None:
                draws = torch.from_numpy(spec_augment.draw(rng))
                features = spec_augment(features[None], draws[None])[0]
            return Example(features, int(self.labels[index]), draws, index, skipped=skipped)
        raise DataListError(
            f"{REPLACEMENT_TRIES} utterances drawn one after another have no features; the last: {skipped[-1][1]}"
        )

    def _read_crop(self, index: int, position: float) -> Tensor:
        """Frames [crop_frames, D] float32 from `position` (0 … 1) on, repeated where the utterance is shorter."""
        first, frames = int(self.packed.first_frame[index]), int(self.packed.frames[index])
        if index in self.packed.reasons:
            raise AudioError(self.packed.reasons[index])
        if frames < self.min_frames:
            path = self.packed.utterances[index].path
            raise TooShortError(f"{path} has {frames} frames, fewer than min_duration {self.crop.min_duration_s} s.")
        slack = frames - self.crop_frames
        if slack >= 0:
            start = first + min(slack, int(position * (slack + 1)))
            rows: NDArray[Any] = self.packed.matrix[start : start + self.crop_frames]
        else:
            whole = self.packed.matrix[first : first + frames]
            rows = whole[(np.arange(self.crop_frames) + int(position * frames)) % frames]
        features = torch.from_numpy(np.array(rows, dtype=np.float32))
        return features - features.mean(dim=0) if self.mean_norm else features


def _read_index(
    path: Path,
) -> tuple[list[Utterance], NDArray[np.int64], NDArray[np.int64], dict[int, str]]:
    """Utterances, their first frames and numbers of frames, and reasons; ValueError for a file of another kind."""
    utterances: list[Utterance] = []
    places: list[tuple[int, int]] = []
    reasons: dict[int, str] = {}
    speakers: dict[str, str] = {}  # one string object per speaker, not one per line
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        if tuple(next(lines, "").rstrip("\n").split("\t")) != COLUMNS:
            raise ValueError(f"the heading of {path.name} is not {' '.join(COLUMNS)}")
        for row, line in enumerate(lines):
            name, speaker, start, end, first, frames, failed = line[:-1].split("\t")
            start_s, end_s = float(start) if start else None, float(end) if end else None
            utterances.append(Utterance(name, speakers.setdefault(speaker, speaker), start_s, end_s))
            places.append((int(first), int(frames)))
            if failed:
                reasons[row] = failed
    first_frame, frames_of = np.array(places, dtype=np.int64).reshape(-1, 2).T.copy()
    return utterances, first_frame, frames_of, reasons
