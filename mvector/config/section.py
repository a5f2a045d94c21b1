"""What all sections of the schema have in common: strict types, no unknown keys."""

import typing
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A section of the configuration. An unknown key or a value of another type is an error, never converted."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _empty_means_default(cls, values: Any) -> Any:
        """`method_args:` with nothing under it (all its lines commented out) is null in YAML; the default is meant."""
        if not isinstance(values, dict):
            return values
        return {
            key: value
            for key, value in values.items()
            if value is not None or key not in cls.model_fields or not _holds_keys(cls.model_fields[key])
        }


def section_of(field: FieldInfo) -> type[Section] | None:
    """The section class of a field, or None for a plain value."""
    for candidate in (field.annotation, *typing.get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def is_free(field: FieldInfo) -> bool:
    """Whether the field takes any keys (`model_args`, …)."""
    return typing.get_origin(field.annotation) is dict


def _holds_keys(field: FieldInfo) -> bool:
    return section_of(field) is not None or is_free(field)


def cross_check(key: str, problem: str) -> NoReturn:
    """Report that the value of `key` (dotted, below the section that checks) does not fit another key's value."""
    raise PydanticCustomError("cross_check", "{problem}", {"key": key, "problem": problem})
