"""`train.py`, `mvector train`: train a model and say what to do next."""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from mvector.cli import add_device_arguments, add_set_argument, boolean, translate

if TYPE_CHECKING:
    from mvector.data.trials import Trials
    from mvector.training.run import TrainingRun


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=translate("Train a speaker recognition model."))
    parser.add_argument("--configs", default="configs/quickstart.yml", help=translate("configuration file"))
    parser.add_argument("--data_augment_configs", default=None, help=translate("augmentation file"))
    parser.add_argument("--save_model_path", default="models/", help=translate("folder for models"))
    parser.add_argument("--log_dir", default="log/", help=translate("folder for logs and curves"))
    parser.add_argument(
        "--resume_model",
        default=None,
        help=translate(
            "last_model folder to go on from, or auto: the newest checkpoint, a new run where there is none"
        ),
    )
    parser.add_argument("--pretrained_model", default=None, help=translate("model directory to start from"))
    parser.add_argument("--do_eval", type=boolean, default=True, help=translate("evaluate while training"))
    parser.add_argument(
        "--save_samples",
        type=int,
        default=0,
        metavar="N",
        help=translate("write N augmented examples as wav files into the log folder, to listen to"),
    )
    add_device_arguments(parser)
    add_set_argument(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    from mvector.trainer import Interrupted, MVectorTrainer
    from mvector.training.ranks import is_first

    trainer = MVectorTrainer(
        arguments.configs,
        use_gpu=arguments.use_gpu,
        data_augment_configs=arguments.data_augment_configs,
        overwrites=arguments.overrides,
        device=arguments.device,
    )
    try:
        run = trainer.train(
            save_model_path=arguments.save_model_path,
            log_dir=arguments.log_dir,
            resume_model=arguments.resume_model,
            pretrained_model=arguments.pretrained_model,
            do_eval=arguments.do_eval,
            save_samples=arguments.save_samples,
        )
    except Interrupted as stop:
        if not is_first():
            _leave(130)
        print(translate("Training stopped; everything is saved in {folder}.").format(folder=stop.folder))
        print(translate("Go on with:"))
        print(f"  {program()} {resume_arguments(sys.argv[1:] if argv is None else argv, stop.folder)}")
        sys.exit(130)
    if not is_first():
        _leave(0)
    if run is None:
        folder = Path(arguments.save_model_path) / trainer.name
        print(translate("The run in {folder} is complete: nothing is left to train.").format(folder=folder))
        return
    best, metrics = run.folder / "best_model", run.best_metrics or run.last_metrics
    if "eer" in metrics:
        print(
            translate("Best model: epoch {epoch}, EER {eer:.2f} %, threshold {threshold:.4f}, in {folder}").format(
                epoch=metrics["epoch"], eer=100 * metrics["eer"], threshold=metrics["threshold"], folder=best
            )
        )
    else:
        print(translate("Model saved in {folder}; it was not evaluated and has no threshold.").format(folder=best))
    if "synthetic" in metrics:
        print(translate(metrics["synthetic"]))
    print(translate("What to try next:"))
    for command in next_commands(run, Path(arguments.log_dir)):
        print(f"  {command}")


def _leave(status: int) -> NoReturn:
    """End a process that has nothing left to say, without taking torch down piece by piece: now and then one of its
    threads outlives what it belongs to, which aborts the process, and torchrun then takes the others with it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def program() -> str:
    """How the script was started: by python, or in several processes by torchrun."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return "python train.py"
    machines, processes = os.environ.get("GROUP_WORLD_SIZE", "1"), os.environ.get("LOCAL_WORLD_SIZE", "1")
    meeting = "--standalone" if machines == "1" else "--rdzv_backend=c10d --rdzv_endpoint=HOST:PORT"
    return f"torchrun {meeting} --nnodes={machines} --nproc_per_node={processes} train.py"


def resume_arguments(argv: Sequence[str], folder: Path) -> str:
    """The arguments that the run was started with, and the folder to go on from, quoted for a shell."""
    kept, skip = [], False
    for argument in argv:
        if not skip and argument.partition("=")[0] not in ("--resume_model", "--pretrained_model"):
            kept.append(argument)
        skip = argument in ("--resume_model", "--pretrained_model")
    return join_command([*kept, "--resume_model", str(folder)])


def join_command(arguments: Sequence[str]) -> str:
    return subprocess.list2cmdline(arguments) if os.name == "nt" else shlex.join(arguments)


def next_commands(run: "TrainingRun", log_dir: Path) -> list[str]:
    """Commands that work as printed: test, compare two recordings of one development speaker, look at the curves."""
    data, best, commands = run.config.dataset_conf, run.folder / "best_model", []
    if data.trials_list or data.enroll_list:
        commands.append(join_command(["python", "eval.py", "--model_path", str(best), "--save_image_path", "output/"]))
    if run.development is not None:
        first, second = target_pair(run.development.trials)
        commands.append(
            join_command(
                [
                    "python",
                    "infer_contrast.py",
                    "--model_path",
                    str(best),
                    "--audio_path1",
                    first,
                    "--audio_path2",
                    second,
                ]
            )
        )
    viewer = run.config.train_conf.tracker.lower()  # visualdl or tensorboard: the names of their programs
    commands.append(join_command([viewer, "--logdir", str(log_dir)]))
    return commands


def target_pair(trials: "Trials") -> tuple[str, str]:
    """Two recordings of the trials, of one speaker if there is such a trial."""
    if trials.labels is not None and trials.enroll is not None and trials.test is not None:
        row = int(trials.labels.argmax())
        enroll, test = trials.enroll_rows[trials.enroll[row]][0], int(trials.test_rows[trials.test[row]])
    else:
        enroll = trials.enroll_rows[0][0]
        same = [
            int(row)
            for row, speaker in zip(trials.test_rows, trials.test_speakers, strict=True)
            if speaker == trials.enroll_speakers[0] and row != enroll
        ]
        test = same[0] if same else int(trials.test_rows[-1])
    return trials.utterances[enroll].path, trials.utterances[test].path
