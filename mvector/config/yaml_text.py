"""YAML in and out: UTF-8, `1e-5` is a number, a key given twice is an error, mistakes are told with file and line."""

import math
import re
from pathlib import Path
from typing import Any

import yaml

from mvector.errors import ConfigError

KeyPath = tuple[str, ...]
# YAML 1.2's float. PyYAML follows YAML 1.1, where an exponent needs a dot and a sign: there 1e-5 is text.
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+$")


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            mark = key_node.start_mark
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if key_node.tag != "tag:yaml.org,2002:str":
                found = getattr(key_node, "value", "") if isinstance(key_node, yaml.ScalarNode) else "a collection"
                raise yaml.constructor.ConstructorError(None, None, f"the key {found!r} is not text; quote it", mark)
            if key_node.value in seen:
                first = seen[key_node.value] + 1
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} was already given in line {first}", mark
                )
            seen[key_node.value] = mark.line
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True  # a list that two keys share is written twice, not as an anchor


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
# The writer must know what the reader takes for a number, so that it quotes the text '1e-5'.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_Dumper.add_representer(
    list, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)


def read_yaml(path: str | Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """Read a YAML file whose top level is a mapping; also the line (from 1) of each of its keys.

    Raises ConfigError in one line: no such file, not UTF-8, not YAML, a key given twice, a top level of another kind.
    """
    name = str(path)
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"{name}: no such configuration file.") from error
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read as a configuration file ({error.strerror or error}).") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{name}:{line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file in the encoding UTF-8."
        ) from error
    value, lines = _parse(text, name)
    if value is None:
        return {}, {}
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: expected sections such as 'dataset_conf:', found {_kind(value)}.")
    return value, lines


def parse_value(text: str, origin: str) -> Any:
    """The value of an override such as `0.1`, `[1, 2]`, `true`, `text`; ConfigError naming `origin` otherwise."""
    try:
        return _parse(text, "")[0]
    except ConfigError as error:
        problem = re.sub(r"^:(\d+)?:? ", "", str(error))
        raise ConfigError(f"{origin}: the value is not readable as YAML: {problem}") from error


def dump_yaml(values: dict[str, Any]) -> str:
    """Block-style YAML in the order of `values`, lists in one line, readable Chinese."""
    return yaml.dump(values, Dumper=_Dumper, allow_unicode=True, sort_keys=False, default_flow_style=False, width=120)


def dump_value(value: Any) -> str:
    """One value in one line, as it may stand after `key=`."""
    text = yaml.dump(
        value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, default_flow_style=True, width=math.inf
    )
    return text.removesuffix("...\n").strip()


def _parse(text: str, name: str) -> tuple[Any, dict[KeyPath, int]]:
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, {}
            value = loader.construct_document(node)
            lines: dict[KeyPath, int] = {}
            _collect_lines(node, (), lines)
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{name}:{line}: the character U+{ord(text[error.position]):04X} may not be in YAML."
        ) from error
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_marked(error, name)) from error
    except (ValueError, RecursionError) as error:  # such as `!!float abc` and a date with a 13th month
        raise ConfigError(f"{name}: not readable as YAML ({error}).") from error
    return value, lines


def _marked(error: yaml.MarkedYAMLError, name: str) -> str:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "not readable as YAML"
    if mark is None:
        return f"{name}: {problem}."
    if "\\t" in problem:
        problem = "a tab where YAML wants spaces; indent with spaces"
    context = f" ({error.context})" if error.context and error.problem else ""
    return f"{name}:{mark.line + 1}: {problem}{context}."


def _collect_lines(node: yaml.Node, prefix: KeyPath, lines: dict[KeyPath, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key = (*prefix, str(key_node.value))
            lines.setdefault(key, key_node.start_mark.line + 1)
            _collect_lines(value_node, key, lines)


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"{str(value)[:60]!r}"
