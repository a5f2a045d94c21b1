"""What sherpa-onnx wants to know of a speaker model, and whether it can compute the features that the model takes.

sherpa-onnx (k2-fsa) runs speaker embeddings on phones, in browsers and from a dozen languages. It makes the features
itself, always in the same way, and reads the rest from the file's metadata.
"""

import inspect
from typing import Any

import mvector
from mvector.config import Config
from mvector.features.fbank import Fbank

# The arguments of Fbank with which it equals sherpa-onnx's feature extractor (csrc/features.h), to 3e-4.
SHERPA_ARGUMENTS = {"num_mel_bins": 80, "snip_edges": False, "high_freq": -400.0}
# Where these differ the network still hears speech as it knows it, and all of sherpa-onnx's own models live with it.
# Anything else that differs makes it another feature.
_TOLERATED = ("snip_edges", "high_freq", "window_type")
_OF_TRAINING = ("dither",)


def sherpa_metadata(config: Config, embd_dim: int, metrics: dict[str, Any]) -> tuple[dict[str, str], list[str]]:
    """The metadata entries that let sherpa-onnx load a model which takes features, and sentences about its limits.

    Empty where sherpa-onnx cannot compute the model's features; the sentence then says what stands in the way.
    """
    preprocess, dataset = config.preprocess_conf, config.dataset_conf.dataset
    differing = _differing_arguments(config)
    obstacles = [text for name, text in differing.items() if name not in _TOLERATED]
    if preprocess.use_hf_model or preprocess.feature_method != "Fbank":
        obstacles = [f"feature_method is {preprocess.feature_method}, sherpa-onnx has only Fbank"]
    elif preprocess.waveform_scale not in (1.0, 32768.0):
        obstacles.append(f"waveform_scale is {preprocess.waveform_scale:g}, sherpa-onnx has only 1 and 32768")
    if obstacles:
        return {}, [
            f"sherpa-onnx cannot run this model, because it would compute other features ({'; '.join(obstacles)}). The "
            "file has no metadata for it; other runtimes are not concerned."
        ]
    notes = []
    tolerated = [text for name, text in differing.items() if name in _TOLERATED]
    if tolerated:
        notes.append(
            f"sherpa-onnx computes the features somewhat differently ({'; '.join(tolerated)}), so its scores are not "
            "quite this model's. Choose the threshold with sherpa-onnx itself; a model trained with its values agrees."
        )
    if dataset.use_dB_normalization and (preprocess.waveform_scale == 1.0 or not preprocess.mean_norm):
        notes.append(
            f"sherpa-onnx does not bring recordings to the level of {dataset.target_dB:g} dB that this model expects; "
            "quiet ones will score differently."
        )
    imported = metrics.get("imported", {})
    return {
        "framework": "wespeaker" if preprocess.waveform_scale == 32768.0 else "3d-speaker",
        "output_dim": str(embd_dim),
        "sample_rate": str(dataset.sample_rate),
        "normalize_samples": "1" if preprocess.waveform_scale == 1.0 else "0",
        "language": "unknown",  # sherpa-onnx demands the entry and only shows it
        "feature_normalize_type": "global-mean" if preprocess.mean_norm else "",
        "url": str(imported.get("page") or ""),
        "comment": f"{config.model_conf.model}, exported by mvector {mvector.__version__}",
    }, notes


def _differing_arguments(config: Config) -> dict[str, str]:
    """Each argument of Fbank in which the model differs from sherpa-onnx, with a few words."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(Fbank).parameters.items()}
    ours = {**defaults, "sample_frequency": config.dataset_conf.dataset.sample_rate}
    theirs = {**ours, **SHERPA_ARGUMENTS}
    ours |= config.preprocess_conf.method_args
    if ours["high_freq"] > 0:  # counted from the Nyquist frequency, as theirs is
        ours["high_freq"] -= ours["sample_frequency"] / 2
    return {
        name: f"{name} is {ours[name]}, there {theirs[name]}"
        for name in defaults
        if name not in _OF_TRAINING and ours[name] != theirs[name]
    }
