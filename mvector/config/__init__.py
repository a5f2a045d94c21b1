"""The one place that knows the YAML schema: typed, validated, documented.

>>> config = load_config("configs/ecapa_tdnn.yml", overrides=["train_conf.max_epoch=30"])
>>> config.train_conf.max_epoch
30

Importing this package does not import torch. `python -m mvector.config` prints the reference of all keys.
"""

from mvector.config.augmentation import AugmentationConfig
from mvector.config.loading import load_augmentation, load_config
from mvector.config.names import check_names
from mvector.config.schema import Config

__all__ = [
    "AugmentationConfig",
    "Config",
    "check_names",
    "load_augmentation",
    "load_config",
]
