"""The reference of all configuration keys, made from the schema."""

import inspect

from mvector.config.augmentation import AugmentationConfig
from mvector.config.messages import expectation, find_section
from mvector.config.schema import Config
from mvector.config.section import Section, is_free, section_of
from mvector.config.yaml_text import dump_value

_INTRODUCTION = """\
# Configuration

Made from the schema in `mvector/config/` by `python -m mvector.config`; do not edit by hand.

A configuration is a YAML file in UTF-8. Every key is optional: what is left out has the default given here. An unknown
key, a value of another type or out of range, and an unknown name are errors that name the file and line, the key, what
was found and what is allowed. `1e-5` is a number. A key given twice is an error.

- `--set section.key=value` overrides a key for one run; the value is YAML: `--set train_conf.max_epoch=30`,
  `--set model_conf.model_args.channels=[1024,1024,1024,1024,3072]`. It is taken by `train.py`, `eval.py`,
  `infer_contrast.py`, `infer_recognition.py`, `mvector calibrate`, `tools/extract_embeddings.py`,
  `tools/extract_features.py`, `tools/profile_training.py` and `tools/robustness.py`.
- Names of classes are those that `mvector list` shows, those of `torch.optim`, or the dotted path of a class of your
  own. The keys of the `..._args` sections are checked against the class.
- Files of the mvector 1.1 package load as they are, even where they name a class that this package does not have yet;
  building that class then says which ones there are. Files of the 1.0 form are translated, with a warning that shows
  the new form.
- The resolved configuration, defaults and augmentation included, is stored in the model directory as `config.yml`.
"""


def documentation() -> str:
    """The Markdown text of `docs/configuration.md`."""
    parts = [_INTRODUCTION]
    parts += [
        part for name, field in Config.model_fields.items() if name != "augmentation" for part in _part(name, Config)
    ]
    parts.append(
        "## The augmentation file\n\n"
        "A YAML file of its own (`--data_augment_configs`), or the section `augmentation` of "
        "the configuration. A section that is absent is off; an empty one too.\n"
    )
    parts += [part for name in AugmentationConfig.model_fields for part in _part(name, AugmentationConfig)]
    return "\n".join(parts)


def _part(dotted: str, schema: type[Section]) -> list[str]:
    """Heading and table of a section, and those of the sections in it."""
    section = find_section(schema, tuple(dotted.split(".")))
    assert section is not None
    level = "#" * (2 + dotted.count(".") + (schema is AugmentationConfig))
    text = f"{level} {dotted}\n\n{' '.join((inspect.getdoc(section) or '').split())}\n"
    plain = {name: field for name, field in section.model_fields.items() if section_of(field) is None}
    if plain:
        text += "\n| key | takes | default | meaning |\n|---|---|---|---|\n"
    for name, field in plain.items():
        default = "{}" if is_free(field) else dump_value(field.get_default(call_default_factory=True))
        text += f"| `{name}` | {expectation(field)} | `{default}` | {field.description} |\n"
    inner = [f"{dotted}.{name}" for name in section.model_fields if name not in plain]
    return [text, *(part for name in inner for part in _part(name, schema))]
