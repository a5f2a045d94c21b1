"""Reading a configuration: file, 1.0 form, augmentation file, overrides, schema, names."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from mvector.config.augmentation import AugmentationConfig
from mvector.config.legacy import is_form_1_0, translate_form_1_0
from mvector.config.messages import find_field, one_line, show, unknown_key
from mvector.config.schema import Config
from mvector.config.section import Section, is_free, section_of
from mvector.config.yaml_text import KeyPath, parse_value, read_yaml
from mvector.errors import ConfigError

_AnySection = TypeVar("_AnySection", bound=Section)
_AUGMENTATION = "augmentation"


class _Origins:
    """Where each key was given: the file and line, or the override; `origin(key)` falls back to the nearest parent."""

    def __init__(self, name: str, lines: dict[KeyPath, int]):
        self._name = name
        self._places = {key: f"{name}:{line}" for key, line in lines.items()}

    def __setitem__(self, key: KeyPath, place: str) -> None:
        self._places[key] = place

    def __call__(self, key: KeyPath) -> str:
        for length in range(len(key), 0, -1):
            if key[:length] in self._places:
                return self._places[key[:length]]
        return self._name


def load_config(
    source: str | os.PathLike[str] | Mapping[str, Any],
    overrides: str | Iterable[str] = (),
    augmentation: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    check_names: bool = True,
) -> Config:
    """Read a configuration: a YAML file (or the same as a dict), an augmentation file, overrides like `a.b=c`.

    The schemas of mvector 1.1 and 1.0 are accepted; the latter is translated with one warning that shows the new form.
    A later source wins: the file, then `augmentation` (instead of the file's own `augmentation` section), then the
    overrides in their order (their values are YAML: `0.1`, `true`, `[1, 2]`, `null`).
    With `check_names` the names of classes and their arguments are checked as `mvector.config.check_names` says, which
    imports torch.

    Raises ConfigError: one sentence with the file and line or the override, the dotted key, what was found, what is
    allowed, and the nearest right spelling.
    """
    values, origins = _read(source, "configuration")
    if is_form_1_0(values):
        values = translate_form_1_0(values, origins(()))
    if augmentation is not None:
        values[_AUGMENTATION] = load_augmentation(augmentation).model_dump()
        origins[(_AUGMENTATION,)] = "augmentation" if isinstance(augmentation, Mapping) else str(augmentation)
    if isinstance(overrides, str):  # the form of mvector 1.1: 'a.b=c,d.e=f'
        overrides = re.split(r",(?=\s*[\w.]+=)", overrides) if overrides else ()
    for override in overrides:
        _apply_override(values, override, origins)
    config = _validate(Config, values, origins)
    if check_names:
        from mvector.config.names import check_names as check

        check(config, origins)
    return config


def load_augmentation(source: str | os.PathLike[str] | Mapping[str, Any]) -> AugmentationConfig:
    """Read an augmentation file (or the same as a dict); a section that is absent is off. Raises ConfigError."""
    values, origins = _read(source, "augmentation")
    return _validate(AugmentationConfig, values, origins)


def _read(source: str | os.PathLike[str] | Mapping[str, Any], name: str) -> tuple[dict[str, Any], _Origins]:
    if isinstance(source, Mapping):
        return _plain(source), _Origins(name, {})
    values, lines = read_yaml(Path(source))
    return values, _Origins(str(source), lines)


def _validate(schema: type[_AnySection], values: dict[str, Any], origins: _Origins) -> _AnySection:
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise ConfigError(one_line(error, schema, origins)) from error


def _apply_override(values: dict[str, Any], override: str, origins: _Origins) -> None:
    """Put the value of `a.b=c` into `values`, making the sections on the way."""
    place = f"--set {override}"
    dotted, equals, text = override.partition("=")
    key = tuple(dotted.strip().split("."))
    if not equals or not all(key):
        raise ConfigError(f"{place}: expected key=value, such as train_conf.max_epoch=30.")
    # Walk the schema beside the values: a key that is not in the schema must be answered here, because its parent may
    # be a free section or absent.
    for length in range(1, len(key) + 1):
        field = find_field(Config, key[:length])
        if field is None:
            raise ConfigError(f"{place}: {'.'.join(key[:length])}: {unknown_key(key[:length], Config)}")
        if is_free(field):
            break
        if length < len(key) and section_of(field) is None:
            raise ConfigError(f"{place}: {'.'.join(key[:length])} is a value, not a section with keys below it.")
    section = values
    for length, part in enumerate(key[:-1], start=1):
        inner = section.setdefault(part, {})
        if inner is None:
            inner = section[part] = {}
        if not isinstance(inner, dict):
            parent = key[:length]
            raise ConfigError(
                f"{origins(parent)}: {'.'.join(parent)}: found {show(inner)}, expected a section of keys."
            )
        section = inner
    section[key[-1]] = parse_value(text, place)
    origins[key] = place


def _plain(value: Any) -> Any:
    """A deep copy made of the types that YAML has, so that a configuration built in Python can be written."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
