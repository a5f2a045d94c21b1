"""`tools/extract_features.py`: the features of a training list in one memory-mapped file, for training without
augmentation of the sound."""

import argparse
import os
from collections.abc import Sequence

from mvector.cli import add_set_argument, translate
from mvector.cli.train import join_command
from mvector.errors import ConfigError


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=translate("Compute the features of a training list ahead; run again, it goes on.")
    )
    parser.add_argument(
        "--configs", default="configs/ecapa_tdnn.yml", help=translate("the configuration that will be trained")
    )
    parser.add_argument(
        "--list", default=None, metavar="LIST", help=translate("data list or shards (default: its train_list)")
    )
    parser.add_argument("--output", required=True, metavar="DIR", help=translate("folder for the features"))
    parser.add_argument(
        "--dtype",
        choices=["float16", "float32"],
        default="float16",
        help=translate("type of the numbers (default: float16, half the space)"),
    )
    parser.add_argument(
        "--num_workers", type=int, default=os.cpu_count() or 1, help=translate("processes (default: one per core)")
    )
    add_set_argument(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    from mvector.config import load_config
    from mvector.data.feature_extraction import extract_features
    from mvector.data.lists import read_data_list

    config = load_config(arguments.configs, overrides=arguments.overrides)
    data_list = arguments.list or config.dataset_conf.train_list
    if data_list is None:
        raise ConfigError("there is no list: set dataset_conf.train_list, or give --list.")
    utterances = read_data_list(data_list, config.dataset_conf.data_root)
    done = extract_features(config, utterances, arguments.output, arguments.dtype, arguments.num_workers)
    print(
        translate("{rows:,} recordings, {frames:,} frames in {folder} ({failed:,} without features)").format(
            rows=done.rows, frames=done.frames, folder=arguments.output, failed=done.failed
        )
    )
    if done.failed:
        print(translate("the first without features: {reason}").format(reason=translate(done.first_failure)))
    print(f"\n{translate('Next')}:")
    setting = f"dataset_conf.train_features={arguments.output}"
    print(f"  {join_command(['python', 'train.py', '--configs', arguments.configs, '--set', setting])}")
