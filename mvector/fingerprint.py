"""Which model made an embedding: embeddings of two models must never be compared, and their sizes may be the same."""

import hashlib
import json
from pathlib import Path
from typing import Any

from mvector.config import Config
from mvector.config.section import Section
from mvector.export.runtime import WEIGHTS, features_file

# What decides on an embedding besides the weights; the rest of a configuration is about training and lists.
DECISIVE_KEYS = (
    "model_conf.model",
    "model_conf.model_args",
    "preprocess_conf",
    "dataset_conf.dataset.sample_rate",
    "dataset_conf.dataset.use_dB_normalization",
    "dataset_conf.dataset.target_dB",
)
_FRONTEND_FILES = ("frontend.safetensors", "frontend_config.json")  # of mvector.model_directory, which imports torch


def model_fingerprint(path: str | Path, config: Config) -> str:
    """32 hexadecimal digits that two models share only if they give the same embeddings.

    SHA-256 over the weights of the model directory `path` (or over the exported file `path`) and the settings that
    decide on embeddings, as `config` has them after overrides. Training again, 8-bit weights, another feature or level
    change it; a moved directory, other lists and another threshold do not.
    """
    path = Path(path)
    files = [path, features_file(path)] if path.is_file() else [path / name for name in (WEIGHTS, *_FRONTEND_FILES)]
    hashes = []
    for file in files:
        if file.is_file():
            with open(file, "rb") as stream:
                hashes.append(hashlib.file_digest(stream, "sha256").hexdigest())
    described = json.dumps([hashes, decisive_settings(config)], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:32]


def decisive_settings(config: Config) -> dict[str, Any]:
    """What of a configuration decides on embeddings.

    Values of a section that equal its defaults are left out, so that a key which a later version adds changes nothing.
    """
    settings = {}
    for key in DECISIVE_KEYS:
        value: Any = config
        for name in key.split("."):
            value = getattr(value, name)
        settings[key] = value.model_dump(exclude_defaults=True) if isinstance(value, Section) else value
    return settings
