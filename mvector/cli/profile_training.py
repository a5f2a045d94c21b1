"""`tools/profile_training.py`: what limits the speed of a training, and what to change."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mvector.cli import add_device_arguments, add_set_argument, translate
from mvector.errors import ConfigError


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=translate("Say whether loading, features or the network limits a training, and what to change.")
    )
    parser.add_argument("--configs", default="configs/quickstart.yml", help=translate("configuration file"))
    parser.add_argument("--data_augment_configs", default=None, help=translate("augmentation file"))
    parser.add_argument(
        "--batches", type=int, default=10, help=translate("batches that each part is timed on (default: 10)")
    )
    add_device_arguments(parser)
    add_set_argument(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    if arguments.batches < 1:
        raise ConfigError(f"--batches must be 1 or more, found {arguments.batches}.")
    from mvector.trainer import MVectorTrainer
    from mvector.training.advice import with_advice
    from mvector.training.bottleneck import advice, limit, measure
    from mvector.training.run import TrainingRun

    trainer = MVectorTrainer(
        arguments.configs,
        use_gpu=arguments.use_gpu,
        data_augment_configs=arguments.data_augment_configs,
        overwrites=arguments.overrides,
        device=arguments.device,
        log_level="warning",
    )
    with tempfile.TemporaryDirectory() as folder, with_advice(trainer.config, trainer.device):
        run = TrainingRun(trainer.config, trainer.device, Path(folder), do_eval=False)
        speeds = measure(trainer, run, arguments.batches)
        size = run.batches.batch_size
    inside = translate("loading, features included") if speeds.features_in_loader else translate("loading")
    network = translate("network") if speeds.features_in_loader else translate("network, features included")
    rows = [
        (inside, speeds.loading),
        (translate("features on one core") if speeds.features_in_loader else translate("features"), speeds.features),
        (network, speeds.network),
        (translate("all together"), speeds.together),
    ]
    print(f"{trainer.device}, {speeds.dtype}, num_workers {speeds.workers}, batch_size {size}")
    for name, rate in rows:
        if rate < float("inf"):
            print(
                translate("{name}: {rate:.0f} utterances/s, {milliseconds:.0f} ms for a batch").format(
                    name=name, rate=rate, milliseconds=1000 * size / rate
                )
            )
    print(translate("the device waited for data {stall:.0%} of the time").format(stall=speeds.stall))
    print()
    sentence = {
        "loading": "The limit is loading (reading, decoding and augmenting recordings).",
        "features": "The limit is the computation of features.",
        "network": "The limit is the network, as it should be.",
    }[limit(speeds)]
    print(translate(sentence))
    print(translate("To make it quicker:"))
    for change in advice(speeds):
        print(f"  - {translate(change)}")
