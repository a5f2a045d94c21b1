"""`tools/make_shards.py`: a data list as a folder of tar files, for network disks and object stores."""

import argparse
import os
from collections.abc import Sequence

from mvector.cli import translate
from mvector.cli.train import join_command
from mvector.errors import ConfigError


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=translate("Pack the recordings of a data list into tar files (shards); run again, it goes on.")
    )
    parser.add_argument(
        "--list", required=True, metavar="LIST", help=translate("data list, or shards to be packed anew")
    )
    parser.add_argument("--output", required=True, metavar="DIR", help=translate("folder for the shards"))
    parser.add_argument("--data_root", default=None, help=translate("folder that relative paths in it start from"))
    parser.add_argument("--utterances", type=int, default=1000, help=translate("utterances in a shard (default: 1000)"))
    parser.add_argument(
        "--megabytes", type=float, default=None, help=translate("size of a shard, instead of a number of utterances")
    )
    parser.add_argument("--seed", type=int, default=0, help=translate("another order of the utterances (default: 0)"))
    parser.add_argument(
        "--convert",
        choices=["wav", "flac"],
        default=None,
        help=translate("convert everything to 16 kHz mono (default: files as they are)"),
    )
    parser.add_argument(
        "--num_workers",
        type=int,
        default=os.cpu_count() or 1,
        help=translate("shards written at the same time (default: one per core)"),
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    if arguments.utterances < 1:
        raise ConfigError(f"--utterances must be at least 1, found {arguments.utterances}.")
    if arguments.megabytes is not None and not arguments.megabytes > 0:
        raise ConfigError(f"--megabytes must be above 0, found {arguments.megabytes:g}.")
    from mvector.data.lists import read_data_list
    from mvector.data.shard_writer import SKIPPED, ShardSettings, write_shards

    utterances = read_data_list(arguments.list, arguments.data_root)
    settings = ShardSettings(arguments.utterances, arguments.megabytes, arguments.seed, arguments.convert)
    done = write_shards(utterances, arguments.output, settings, arguments.num_workers)
    print(
        translate("{utterances:,} utterances of {speakers:,} speakers, {hours:.2f} hours, in {shards:,} shards").format(
            utterances=done.utterances, speakers=done.speakers, hours=done.hours, shards=done.shards
        )
    )
    if done.skipped:
        print(
            translate("left out: {count:,} recordings that cannot be used, see {report}").format(
                count=done.skipped, report=(done.index.parent / SKIPPED).as_posix()
            )
        )
    print(f"\n{translate('Next')}:")
    setting = f"dataset_conf.train_list={done.index.as_posix()}"
    print(f"  {join_command(['python', 'train.py', '--configs', 'configs/ecapa_tdnn.yml', '--set', setting])}")
