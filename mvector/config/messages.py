"""A rejected configuration in one sentence: where it stands, the dotted key, what was found, what is allowed."""

import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, Literal

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from mvector.config.section import Section, section_of
from mvector.errors import nearest

KeyPath = tuple[str, ...]
_UNIONS = (typing.Union, types.UnionType)


def one_line(error: ValidationError, schema: type[Section], origin: Callable[[KeyPath], str]) -> str:
    """The first mistake as 'origin: dotted.key: what is wrong', with the number of others.

    `origin` says where a key stands ('configs/my.yml:12', '--set train_conf.max_epoch=0').
    """
    mistakes = error.errors(include_url=False)
    first = mistakes[0]
    key = _key_of(first, schema)
    if first["type"] == "cross_check":
        key += tuple(first["ctx"]["key"].split("."))
    count = len({_key_of(mistake, schema) for mistake in mistakes})
    others = f" (and {count - 1} more)" if count > 1 else ""
    dotted = f"{'.'.join(key)}: " if key else ""
    return f"{origin(key)}: {dotted}{_problem(first, key, schema)}{others}"


def _key_of(mistake: Any, schema: type[Section]) -> KeyPath:
    """Where a mistake stands. Of a value that may be of several kinds pydantic complains once for each of them, with
    the kind at the end of the key."""
    key: KeyPath = tuple(str(part) for part in mistake["loc"])
    outer = find_field(schema, key[:-1])
    if outer is not None and typing.get_origin(outer.annotation) in _UNIONS and section_of(outer) is None:
        return key[:-1]
    return key


def _problem(mistake: Any, key: KeyPath, schema: type[Section]) -> str:
    if mistake["type"] == "extra_forbidden":
        return unknown_key(key, schema)
    if mistake["type"] == "cross_check":
        return f"{mistake['msg']}."
    field = find_field(schema, key)
    found = show(mistake["input"])
    if field is None:
        return f"found {found}: {mistake['msg']}."
    suggestion = ""
    if isinstance(mistake["input"], str):
        suggestion = nearest(mistake["input"], [str(name) for name in _literals(field.annotation)])
    return f"found {found}, expected {expectation(field)}.{suggestion}"


def unknown_key(key: KeyPath, schema: type[Section]) -> str:
    """'unknown key; …' with the keys that are allowed at its place and the nearest, here or elsewhere."""
    section = find_section(schema, key[:-1])
    if section is None:
        return f"unknown key; {'.'.join(key[:-1])} is not a section."
    allowed = list(section.model_fields)
    elsewhere = [".".join(path) for path, _ in walk(schema) if path[-1] == key[-1]]
    hint = f" Did you mean {' or '.join(map(repr, elsewhere))}?" if elsewhere else nearest(key[-1], allowed)
    return f"unknown key; allowed here: {', '.join(allowed)}.{hint}"


def expectation(field: FieldInfo) -> str:
    """What a field takes, in words: 'a whole number of at least 1', 'one of exp, linear', 'text or null'."""
    return _expectation(field.annotation, field.metadata)


def show(value: Any) -> str:
    """A found value with its kind, short enough for one line."""
    if value is None:
        return "null (nothing)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value[:80]!r}"
    if isinstance(value, dict):
        return f"a section with the keys {', '.join(map(str, value))[:80]}" if value else "an empty section"
    if isinstance(value, list | tuple):
        return f"the list {str(list(value))[:80]}"
    return str(value)[:80]


def find_section(schema: type[Section], key: KeyPath) -> type[Section] | None:
    """The section class at a dotted key."""
    section: type[Section] | None = schema
    for part in key:
        if part.isdecimal():  # the place in a list of sections
            continue
        field = section.model_fields.get(part) if section else None
        section = section_of(field) if field else None
    return section


def find_field(schema: type[Section], key: KeyPath) -> FieldInfo | None:
    """The field at a dotted key; for a key below a free section such as `model_args`, None."""
    section = find_section(schema, key[:-1]) if key else None
    return section.model_fields.get(key[-1]) if section else None


def walk(schema: type[Section], prefix: KeyPath = ()) -> Iterator[tuple[KeyPath, FieldInfo]]:
    """All keys of a schema in order, sections before what is in them."""
    for name, field in schema.model_fields.items():
        yield (*prefix, name), field
        inner = section_of(field)
        if inner is not None:
            yield from walk(inner, (*prefix, name))


def _expectation(annotation: Any, metadata: list[Any]) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}" if len(arguments) > 1 else str(arguments[0])
    if origin in _UNIONS:
        parts = [_expectation(part, metadata) for part in arguments if part is not type(None)]
        return " or ".join([*parts, "null"] if type(None) in arguments else parts)
    if origin is dict:
        return "a section of keys and values"
    if origin is list and arguments[0] is float:
        return "a list of numbers"
    if origin is list:
        return f"a list of sections with keys of {', '.join(arguments[0].model_fields)}"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return f"a section with keys of {', '.join(annotation.model_fields)}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return f"{words.get(annotation, annotation.__name__)}{_range(metadata)}"


def _range(metadata: list[Any]) -> str:
    bounds = {
        name: getattr(item, name) for item in metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)
    }
    if "ge" in bounds and "le" in bounds:
        return f" from {bounds['ge']} to {bounds['le']}"
    words = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}
    return "".join(f" {words[name]} {bound}" for name, bound in bounds.items())


def _literals(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()
