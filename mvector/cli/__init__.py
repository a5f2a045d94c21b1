"""The commands: one file each, reached by the scripts at the root and by `mvector NAME`."""

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Sequence

from mvector.errors import MVectorError

COMMANDS = {
    "train": "train a model",
    "eval": "evaluate a model on trials",
    "contrast": "compare two recordings",
    "recognition": "enroll people and recognise who speaks",
    "serve": "answer over HTTP, with a web page",
    "calibrate": "choose a model's threshold on own recordings",
    "export": "write a model for other runtimes",
    "create_data": "make data lists from a corpus",
    "list": "show the parts a configuration can name",
}


def run(command: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None = None) -> None:
    """Run a command as a program: a user's mistake is one line and exit status 2, Ctrl-C is status 130."""
    _prepare_console()
    logging.basicConfig(format="[%(asctime)s %(levelname)s] %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
    logging.getLogger("mvector").setLevel(logging.INFO)
    try:
        command(argv)
    except MVectorError as error:
        print(f"{translate('error')}: {translate(str(error))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(translate("stopped"), file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)


def main(argv: Sequence[str] | None = None) -> None:
    """The `mvector` command."""
    from mvector import __version__

    _prepare_console()
    argv = list(sys.argv[1:] if argv is None else argv)
    listing = "\n".join(f"  {name:<12} {translate(text)}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="mvector",
        usage="mvector COMMAND [options]",
        description=f"{translate('Commands')}:\n{listing}\n\n{translate('mvector COMMAND --help tells more.')}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"mvector {__version__}", help=translate("show the version")
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    if not argv:
        parser.print_help()
        return
    chosen = parser.parse_args(argv[:1]).command
    module = {"eval": "evaluate", "list": "list_parts"}.get(chosen, chosen)
    run(importlib.import_module(f"mvector.cli.{module}").main, argv[1:])


def _prepare_console() -> None:
    """Names in any script can be printed, also on Windows consoles, and argparse speaks the scripts' language."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    translate_argparse()


def boolean(text: str) -> bool:
    """A yes/no option's value, as in `--use_gpu False`."""
    if text.lower() in ("true", "yes", "on", "1"):
        return True
    if text.lower() in ("false", "no", "off", "0"):
        return False
    raise argparse.ArgumentTypeError(translate("expected True or False, found {text}").format(text=repr(text)))


def share_text(rate: float, total: int, decimals: int) -> str:
    """A share of so many trials: in per cent, or as a count of fewer than 30 errors, which could be quite another."""
    from mvector.metrics.detection import FEWEST_FALSE_ACCEPTS

    errors = round(rate * total)
    if errors >= FEWEST_FALSE_ACCEPTS:
        return f"{100 * rate:.{decimals}f} %"
    return translate("{errors} of {total}").format(errors=f"{errors:,}", total=f"{total:,}")


def add_device_arguments(parser: argparse.ArgumentParser, exported: bool = False) -> None:
    """--device and --use_gpu; `exported`: of a command that also runs exported models."""
    text = translate("auto, cpu, cuda[:n] or mps")
    if exported:
        text = translate("auto, cpu, cuda[:n] or mps; for an exported model auto, cpu or openvino")
    parser.add_argument("--device", default="auto", help=text)
    parser.add_argument(
        "--use_gpu", type=boolean, default=None, help=translate("True or False; older form of --device")
    )


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """--model_path of a command that also works without a model of one's own."""
    parser.add_argument(
        "--model_path",
        default=None,
        help=translate("model directory, or an exported .onnx file (default: the small model that mvector carries)"),
    )


def add_index_argument(parser: argparse.ArgumentParser) -> None:
    from mvector.store.index import KINDS
    from mvector.store.postgres import KINDS as POSTGRES_KINDS

    parser.add_argument(
        "--index",
        choices=sorted({*KINDS, *POSTGRES_KINDS}),
        default="exact",
        help=translate(
            "exact (default): compare with everybody; ivf, or with PostgreSQL hnsw: faster among a million people, but "
            "overlooks somebody now and then"
        ),
    )


def add_set_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help=translate("override a configuration key, as in --set train_conf.max_epoch=10; may be repeated"),
    )


from mvector.cli.language import translate, translate_argparse  # noqa: E402  (language imports nothing of ours)
