"""`tools/extract_embeddings.py`: the embeddings of long lists in one folder; resumable, with several processes."""

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mvector.cli import add_device_arguments, add_set_argument, translate

if TYPE_CHECKING:
    from mvector.config import Config
    from mvector.data.lists import Utterance


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=translate("Embed every recording of some lists into one folder; run again, it goes on.")
    )
    parser.add_argument(
        "--model_path",
        default="models/EcapaTdnn_Fbank/best_model/",
        help=translate("model directory, or an exported .onnx file"),
    )
    parser.add_argument(
        "--list",
        nargs="+",
        default=None,
        metavar="LIST",
        help=translate("data lists or trial lists (default: the test lists of the model's configuration)"),
    )
    parser.add_argument(
        "--enroll_map", default=None, help=translate("the utterances of the enrolled speakers of a trial list")
    )
    parser.add_argument("--output", required=True, help=translate("folder for the embeddings"))
    parser.add_argument("--batch_size", type=int, default=None, help=translate("utterances embedded together on a GPU"))
    parser.add_argument(
        "--max_duration", type=float, default=None, help=translate("cut utterances after this time (seconds)")
    )
    parser.add_argument(
        "--speed",
        type=float,
        choices=(0.8, 0.9, 1.0, 1.1, 1.2),
        default=1.0,
        help=translate("speed that the recordings are played at, for the teacher of a distillation"),
    )
    add_device_arguments(parser, exported=True)
    add_set_argument(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    from mvector.extraction import extract
    from mvector.fingerprint import model_fingerprint
    from mvector.opening import open_model

    overrides = list(arguments.overrides)
    for name in ("batch_size", "max_duration"):
        if (value := getattr(arguments, name)) is not None:
            overrides.append(f"dataset_conf.eval_conf.{name}={value}")
    model = open_model(arguments.model_path, _device(arguments), arguments.use_gpu, overrides)
    embedder: Any = model.embedder
    fingerprint = model_fingerprint(model.path, model.config)
    if arguments.speed != 1.0:
        from mvector.training.distillation import AtSpeed

        embedder, fingerprint = AtSpeed(embedder, arguments.speed), f"{fingerprint} at {arguments.speed} of the speed"
    utterances = _recordings(arguments.list, arguments.enroll_map, model.config)
    done = extract(
        embedder,
        model.config,
        utterances,
        arguments.output,
        fingerprint,
        translate("embedding"),
        rank,
        world_size,
    )
    if done is None:
        return
    print(
        translate("{rows:,} recordings embedded in {folder} ({failed:,} could not be)").format(
            rows=done.rows, folder=arguments.output, failed=done.failed
        )
    )
    if done.failed:
        print(translate("the first that could not be: {reason}").format(reason=translate(done.first_failure)))
    if done.embedded_s:
        print(
            translate("{hours:.2f} hours of sound in {seconds:.1f} s, {speed:.0f} times real time").format(
                hours=done.embedded_s / 3600, seconds=done.seconds, speed=done.embedded_s / done.seconds
            )
        )


def _device(arguments: argparse.Namespace) -> str:
    """The device that was asked for; of several GPUs, each process of a machine takes its own."""
    number = os.environ.get("LOCAL_RANK")
    if number is None or arguments.device not in ("auto", "cuda"):
        return str(arguments.device)
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{int(number) % count}" if count and arguments.use_gpu is not False else str(arguments.device)


def _recordings(lists: Sequence[str] | None, enroll_map: str | None, config: "Config") -> "list[Utterance]":
    """Every different recording of the lists, once, in their order."""
    from mvector.data.lists import read_data_list
    from mvector.data.trials import is_trial_list, load_trials, read_trials

    data = config.dataset_conf
    if lists is None:
        return load_trials(data.enroll_list, data.trials_list, enroll_map or data.enroll_map, data.data_root).utterances
    found: dict[Any, Utterance] = {}
    for path in lists:
        trials = is_trial_list(path)
        for one in (
            read_trials(path, data.data_root, enroll_map).utterances if trials else read_data_list(path, data.data_root)
        ):
            key = (one.path, one.start_s, one.end_s)
            if key not in found or not found[key].speaker:
                found[key] = one  # a data list knows the speaker
    return list(found.values())
