"""The schema of the mvector 1.0 package, translated to today's."""

import copy
import logging
from typing import Any

from mvector.config.yaml_text import dump_yaml

logger = logging.getLogger("mvector")

_DATASET_KEYS = ("min_duration", "max_duration", "sample_rate", "use_dB_normalization", "target_dB")
_SAMPLER_KEYS = ("batch_size", "drop_last")
_AUGMENTATION_KEYS = (
    "speed_perturb",
    "speed_perturb_3_class",
    "volume_perturb",
    "volume_aug_prob",
    "noise_dir",
    "noise_aug_prob",
    "use_spec_aug",
    "spec_aug_args",
)
_MARKS = {
    "dataset_conf": (*_DATASET_KEYS, *_AUGMENTATION_KEYS, "do_vad", "aug_conf", "num_speakers"),
    "dataset_conf.dataset": ("do_vad",),
    "dataset_conf.dataLoader": _SAMPLER_KEYS,
    "model_conf": ("backbone",),
    "loss_conf": ("use_loss", "args"),
    "optimizer_conf": ("learning_rate", "weight_decay", "momentum"),
}
_WITH_MOMENTUM = ("SGD", "RMSprop")
_FRAMES_PER_SECOND = 100  # the mask widths of 1.0 are in frames of Fbank's default shift


def is_form_1_0(values: dict[str, Any]) -> bool:
    """Whether any key is one that only the 1.0 schema has at its place."""
    if "use_model" in values:
        return True
    for path, keys in _MARKS.items():
        section = _inner(values, *path.split("."))
        if isinstance(section, dict) and any(key in section for key in keys):
            return True
    return False


def translate_form_1_0(values: dict[str, Any], name: str) -> dict[str, Any]:
    """The same configuration in today's form; one warning shows it. Keys of neither form stay for the schema to report.

    A section that is not a mapping is left as it is, for the same reason.
    """
    values = copy.deepcopy(values)
    left_out = _move_dataset(values)
    _move_rest(values)
    left_out_note = " (do_vad has no counterpart and is left out)" if left_out else ""
    logger.warning(
        "%s has the form of mvector 1.0; in today's form it says%s:\n%s", name, left_out_note, dump_yaml(values)
    )
    return values


def _inner(values: dict[str, Any], *keys: str) -> Any:
    found: Any = values
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _section(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The section at `keys`, made where it is absent; a throw-away one where something else stands there."""
    for key in keys:
        if values.get(key) is None:
            values[key] = {}
        if not isinstance(values[key], dict):
            return {}
        values = values[key]
    return values


def _move(source: dict[str, Any], keys: tuple[str, ...], values: dict[str, Any], *target: str) -> None:
    """Move those of `keys` that are in `source` to the section `target`; what stands there already wins."""
    for key in keys:
        if key in source:
            _section(values, *target).setdefault(key, source.pop(key))


def _rename(section: Any, old: str, new: str) -> None:
    if isinstance(section, dict) and old in section:
        value = section.pop(old)
        section.setdefault(new, value)


def _move_dataset(values: dict[str, Any]) -> bool:
    """Regroup `dataset_conf`; returns whether silence trimming was asked for, which has no counterpart."""
    conf = values.get("dataset_conf")
    if not isinstance(conf, dict):
        return False
    _move(conf, _DATASET_KEYS, values, "dataset_conf", "dataset")
    loader = conf.get("dataLoader")
    if isinstance(loader, dict):
        _move(loader, _SAMPLER_KEYS, values, "dataset_conf", "sampler")
    _move(conf, ("num_speakers",), values, "model_conf", "classifier")
    trimming = [s.pop("do_vad") for s in (conf, conf.get("dataset")) if isinstance(s, dict) and "do_vad" in s]
    old = conf.pop("aug_conf") if isinstance(conf.get("aug_conf"), dict) else {}
    old |= {key: conf.pop(key) for key in _AUGMENTATION_KEYS if key in conf}
    if old:
        known = {key: old.pop(key) for key in _AUGMENTATION_KEYS if key in old}
        augmentation = _augmentation(known, values)
        if augmentation:
            values.setdefault("augmentation", augmentation)
        if old:
            conf["aug_conf"] = old  # unknown keys: the schema reports them
    return any(trimming)


def _augmentation(old: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    new: dict[str, Any] = {}
    if old.get("speed_perturb"):
        new["speed"] = {"prob": 1.0, "speed_perturb_3_class": old.get("speed_perturb_3_class", False)}
    if old.get("volume_perturb"):
        new["volume"] = {"prob": old.get("volume_aug_prob", 0.2)}
    if old.get("noise_dir") and old.get("noise_aug_prob", 0.2):
        new["noise"] = {"prob": old.get("noise_aug_prob", 0.2), "noise_dir": old["noise_dir"]}
    if old.get("use_spec_aug"):
        new["spec_aug"] = {"prob": 1.0, **_mask_ratios(old.get("spec_aug_args"), values)}
    return new


def _mask_ratios(widths: Any, values: dict[str, Any]) -> dict[str, float]:
    """Mask widths [least, most] in bins and frames as shares of the bins and of the crop."""
    if not isinstance(widths, dict):
        return {}
    method_args = _inner(values, "preprocess_conf", "method_args") or {}
    bins = method_args.get("num_mel_bins", method_args.get("n_mels", 80)) if isinstance(method_args, dict) else 80
    seconds = _inner(values, "dataset_conf", "dataset", "max_duration")
    frames = (seconds if isinstance(seconds, int | float) else 3.0) * _FRAMES_PER_SECOND
    sizes = {
        "freq_mask_width": ("freq_mask_ratio", bins),
        "time_mask_width": ("time_mask_ratio", frames),
    }
    ratios = {}
    for key, (ratio, size) in sizes.items():
        width = widths.get(key)
        most = width[-1] if isinstance(width, list) and width else width
        if isinstance(most, int | float) and isinstance(size, int | float) and size > 0:
            ratios[ratio] = round(min(most / size, 1.0), 4)
    return ratios


def _move_rest(values: dict[str, Any]) -> None:
    if "use_model" in values:
        _section(values, "model_conf").setdefault("model", values.pop("use_model"))
    _rename(values.get("model_conf"), "backbone", "model_args")
    _rename(values.get("loss_conf"), "use_loss", "loss")
    _rename(values.get("loss_conf"), "args", "loss_args")
    conf = values.get("optimizer_conf")
    if isinstance(conf, dict):
        _rename(conf, "learning_rate", "lr")
        if conf.get("optimizer", "Adam") not in _WITH_MOMENTUM:
            conf.pop("momentum", None)  # 1.0 gave it to these optimisers only, whatever the file said
        _move(conf, ("lr", "weight_decay", "momentum"), values, "optimizer_conf", "optimizer_args")
