"""`infer_recognition.py`, `mvector recognition`: enroll people and recognise who speaks, by microphone or by file."""

import argparse
import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from mvector.cli import (
    add_device_arguments,
    add_index_argument,
    add_model_argument,
    add_set_argument,
    boolean,
    translate,
)
from mvector.errors import ConfigError, MVectorError

if TYPE_CHECKING:
    import numpy as np

    from mvector.audio.microphone import Microphone
    from mvector.predict import MVectorPredictor
    from mvector.recognition import Recognition, Registration

MOST_SECONDS = 300.0
METER_WIDTH, METER_FLOOR_DBFS = 30, -60.0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=translate(
            "Enroll people and recognise who speaks. Without one of the first options: by microphone, with a menu."
        )
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--enroll", nargs="+", metavar=("NAME", "FILE"), help=translate("enroll recordings of a person")
    )
    action.add_argument(
        "--recognise", "--recognize", nargs="+", metavar="FILE", help=translate("say who speaks in recordings")
    )
    action.add_argument("--list", action="store_true", help=translate("show who is enrolled"))
    action.add_argument("--remove", metavar="NAME", help=translate("delete a person and everything kept of them"))
    action.add_argument("--list_devices", action="store_true", help=translate("show the microphones"))
    parser.add_argument("--audio_db_path", default="audio_db/", help=translate("where enrolled voices are kept"))
    parser.add_argument(
        "--keep_audio",
        type=boolean,
        nargs="?",
        const=True,
        default=True,
        help=translate("True or False: keep the recordings of people enrolled now (default True)"),
    )
    add_index_argument(parser)
    add_model_argument(parser)
    parser.add_argument(
        "--threshold",
        type=float,
        default=None,
        help=translate(
            "cosine similarity above which the voices count as one (default: the one stored with the model)"
        ),
    )
    parser.add_argument(
        "--record_seconds", type=float, default=3.0, help=translate("how long to record (default: 3 seconds)")
    )
    parser.add_argument(
        "--input_device", default=None, help=translate("microphone: its number or a part of its name (--list_devices)")
    )
    parser.add_argument(
        "--configs", default=None, help=translate("not needed: the model directory has its configuration")
    )
    add_device_arguments(parser, exported=True)
    add_set_argument(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    if arguments.enroll is not None and len(arguments.enroll) < 2:
        raise ConfigError("--enroll needs a name and at least one sound file: --enroll NAME FILE.")
    if not 0 < arguments.record_seconds <= MOST_SECONDS:
        raise ConfigError(
            f"--record_seconds must be above 0 and at most {MOST_SECONDS:g}, found {arguments.record_seconds:g}."
        )
    if arguments.list_devices:
        _list_devices()
    elif arguments.enroll is not None:
        name, *files = arguments.enroll
        with _opened(arguments) as predictor:
            _each(files, lambda file: _tell_enrolled(predictor.register(file, name), file))
    elif arguments.recognise is not None:
        with _opened(arguments) as predictor:
            _tell_synthetic(predictor)
            _each(arguments.recognise, lambda file: _tell_recognised(predictor.recognition(file), file))
    elif arguments.list:
        with _opened(arguments) as predictor:
            _list_people(predictor)
    elif arguments.remove is not None:
        with _opened(arguments) as predictor:
            _remove(predictor, arguments.remove)
    else:
        from mvector.audio.microphone import Microphone

        # The microphone before the model: without one nothing else is needed.
        with Microphone(arguments.input_device) as microphone, _opened(arguments) as predictor:
            _menu(predictor, microphone, arguments.record_seconds)


@contextlib.contextmanager
def _opened(arguments: argparse.Namespace) -> "Iterator[MVectorPredictor]":
    from mvector.predict import MVectorPredictor

    predictor = MVectorPredictor(
        configs=arguments.configs,
        threshold=arguments.threshold,
        audio_db_path=arguments.audio_db_path,
        model_path=arguments.model_path,
        use_gpu=arguments.use_gpu,
        device=arguments.device,
        overwrites=arguments.overrides,
        keep_audio=arguments.keep_audio,
        index=arguments.index,
    )
    try:
        yield predictor
    finally:
        predictor.store.close()


def _each(files: Sequence[str], act: Callable[[str], None]) -> None:
    """One bad recording does not stop the others; the status says that there was one."""
    failed = False
    for file in files:
        try:
            act(file)
        except MVectorError as error:
            failed = True
            _tell_error(error)
    if failed:
        sys.exit(2)


# ---------------------------------------------------------------- the menu


def _menu(predictor: "MVectorPredictor", microphone: "Microphone", seconds: float) -> None:
    _tell_synthetic(predictor)
    print(translate("microphone: {name}, {rate} Hz").format(name=microphone.device.name, rate=microphone.rate_hz))
    while True:
        try:
            choice = input(translate("0 enroll, 1 recognise, 2 delete, q quit: ")).strip()
            if choice.lower() == "q":
                return
            if choice == "0":
                name = input(translate("name of the person: "))
                sound = _record(microphone, seconds)
                _tell_enrolled(predictor.register(sound, name, microphone.rate_hz))
            elif choice == "1":
                sound = _record(microphone, seconds)
                _tell_recognised(predictor.recognition(sound, sample_rate=microphone.rate_hz))
            elif choice == "2":
                _remove(predictor, input(translate("name of the person to delete: ")))
            else:
                print(translate("Type 0, 1, 2 or q."))
        except EOFError:
            return
        except MVectorError as error:  # nothing said, say: the next recording may be better
            _tell_error(error)


def _record(microphone: "Microphone", seconds: float) -> "np.ndarray":
    input(translate("Press Enter to record {seconds:g} seconds: ").format(seconds=seconds))
    in_terminal, told = sys.stdout.isatty(), False

    def meter(level_dbfs: float, elapsed_s: float) -> None:
        nonlocal told
        if not told:  # opening a microphone takes up to a second, and what is said meanwhile is lost
            print(translate("speak now"), flush=True)
            told = True
        if in_terminal:
            print(f"\r{meter_bar(level_dbfs)} {max(level_dbfs, -99.0):4.0f} dB  {elapsed_s:4.1f} s", end="", flush=True)

    sound = microphone.record(seconds, meter)
    print(("\n" if in_terminal else "") + translate("recorded"), flush=True)
    return sound


def meter_bar(level_dbfs: float) -> str:
    """[#####-----]: METER_FLOOR_DBFS or less is empty, full scale is full."""
    share = min(max(1 - level_dbfs / METER_FLOOR_DBFS, 0.0), 1.0)
    filled = math.ceil(share * METER_WIDTH)
    return f"[{'#' * filled}{'-' * (METER_WIDTH - filled)}]"


# ---------------------------------------------------------------- what is printed


def _tell_enrolled(done: "Registration", file: str | None = None) -> None:
    text = translate("{name} is enrolled (recordings: {count})").format(name=done.name, count=done.utterances)
    print(text if file is None else f"{file}: {text}")
    _tell_warnings(done.warnings)


def _tell_recognised(answer: "Recognition", file: str | None = None) -> None:
    text = answer.name if answer.name is not None else translate("nobody was recognised")
    print(text if file is None else f"{file}: {text}")
    if answer.explanation is not None:
        print(f"  {translate(answer.explanation)}")
    if answer.score is not None:
        score = translate("score {score:.4f} ({scoring})").format(score=answer.score, scoring=answer.scoring)
        if answer.threshold is not None:
            score += translate(", threshold {threshold:.4f}").format(threshold=answer.threshold)
        if answer.margin is not None:
            score += translate(", {margin:.4f} more than the next person").format(margin=answer.margin)
        print(f"  {score}")
    probability = answer.probability()
    if probability is not None:
        print(
            "  "
            + translate("probability {probability:.2f} % (if somebody enrolled speaks every second time)").format(
                probability=100 * probability
            )
        )
    _tell_warnings(answer.warnings)


def _tell_warnings(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print("  " + translate("warning: {text}").format(text=translate(warning)))


def _tell_error(error: MVectorError) -> None:
    print(f"{translate('error')}: {translate(str(error))}", file=sys.stderr, flush=True)


def _tell_synthetic(predictor: "MVectorPredictor") -> None:
    if "synthetic" in predictor.model.metrics:
        print(translate(predictor.model.metrics["synthetic"]))


def _list_people(predictor: "MVectorPredictor") -> None:
    people = predictor.store.people()
    for person in people:
        print(translate("{name} (recordings: {count})").format(name=person.name, count=person.utterances))
    print(translate("people enrolled: {count}").format(count=len(people)))


def _remove(predictor: "MVectorPredictor", name: str) -> None:
    if not predictor.remove_user(name):
        raise ConfigError(f"nobody is enrolled as {name!r}; --list shows who is.")
    print(translate("{name} is deleted").format(name=name))


def _list_devices() -> None:
    from mvector.audio.microphone import Microphone

    with Microphone() as microphone:
        for device in microphone.devices():
            text = f"{device.index}: {device.name} ({device.rate_hz} Hz)"
            print(text + (translate(", the default") if device.is_default else ""))
