"""`mvector list`: every name that a configuration can use."""

import argparse
import inspect
from collections.abc import Sequence

from mvector.cli import translate
from mvector.registry import BACKBONES, CORPORA, FEATURES, LOSSES, POOLINGS, Registry


def build_parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="mvector list", description=translate("Show the parts that a configuration can name.")
    )


def main(argv: Sequence[str] | None = None) -> None:
    build_parser().parse_args(argv)
    for title, registry in (
        ("Features (preprocess_conf.feature_method)", FEATURES),
        ("Backbones (model_conf.model)", BACKBONES),
        ("Poolings (model_conf.model_args.pooling_type)", POOLINGS),
        ("Losses (loss_conf.loss)", LOSSES),
        ("Corpora (create_data.py --corpus)", CORPORA),
    ):
        print(translate(title))
        print(part_table(registry))
        print()


def part_table(registry: Registry) -> str:
    """One line per part: its name and the first sentence of its docstring."""
    names = registry.names()
    width = max(len(name) for name in names)
    return "\n".join(f"  {name:<{width}}  {_first_sentence(registry.get(name))}" for name in names)


def _first_sentence(cls: type) -> str:
    text = inspect.getdoc(cls) or ""
    return " ".join(text.split("\n\n")[0].split())
