"""create_data.py: data lists and trials from a corpus or from your own recordings; checks and converts them, too."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from mvector.cli.language import translate
from mvector.errors import ConfigError, DataListError

DESCRIPTION = """\
Makes the lists that training and evaluation read: train_list.txt, dev_list.txt, test_list.txt (path<TAB>speaker) and
the trials dev_trials.txt, test_trials.txt (1|0<TAB>enrollment<TAB>test).

Your own recordings, one folder per speaker:
  python create_data.py --corpus folder --root recordings
A public corpus, downloaded and unpacked:
  python create_data.py --corpus cnceleb1,cnceleb2 --root /data/CN-Celeb_flac,/data/CN-Celeb2_flac
Look for bad recordings in the lists that were made, and leave them out:
  python create_data.py --check --drop
Trials from any data list:
  python create_data.py --trials_from my_test_list.txt --targets 1000 --nontargets 10000
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="create_data.py",
        description=translate(DESCRIPTION),
        epilog=f"{translate('corpora')}: {', '.join(_corpus_names())}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def add(group: argparse._ArgumentGroup, *names: str, text: str, **settings: object) -> None:
        group.add_argument(*names, help=translate(text), **settings)  # type: ignore[arg-type]

    what = parser.add_argument_group(translate("what to read (one of these; none: the lists in --output)"))
    add(what, "--corpus", text="names of corpora, with commas between them", metavar="NAME[,NAME…]")
    add(what, "--root", text="the folder of each corpus, or one that holds all of them", metavar="DIR[,DIR…]")
    add(what, "--lists", text="lists to check or convert, the training list first", metavar="LIST[,LIST…]")
    add(what, "--trials_from", text="make trials from this data list", metavar="LIST")
    add(parser.add_argument_group(translate("where to write")), "--output", text="folder (default: dataset)",
        default="dataset", metavar="DIR")  # fmt: skip

    split = parser.add_argument_group(translate("how to divide"))
    add(split, "--split", text="verification: parts have different speakers; identification: the same speakers "
        "(default: verification)", choices=["verification", "identification"], default="verification")  # fmt: skip
    add(split, "--dev_speakers", text="speakers to take from training for development: a number, or a share below 1 "
        "(default: 5 %%, 2 to 50 speakers, if the corpus has no development part)", metavar="N")  # fmt: skip
    add(split, "--test_speakers", text="the same for test", metavar="N")
    add(split, "--seed", text="other draws of speakers and trials (default: 0)", type=int, default=0, metavar="N")

    trials = parser.add_argument_group(translate("trials (official trial lists are used where a corpus has them)"))
    add(trials, "--trial_list", text="which official list, for example O-cleaned, E-cleaned or H-cleaned of VoxCeleb 1",
        metavar="NAME")  # fmt: skip
    add(trials, "--targets", text="target trials: exactly so many (default: 10000 or all)", type=int, metavar="N")
    add(
        trials, "--nontargets", text="non-target trials: exactly so many (default: 20000 or all)", type=int, metavar="N"
    )
    add(trials, "--same_sex_share", text="share of the non-target trials with two speakers of one sex (default: as it "
        "comes)", type=float, metavar="X")  # fmt: skip
    add(trials, "--genders", text="with --trials_from: a file of speaker<TAB>m|f lines", metavar="FILE")

    work = parser.add_argument_group(translate("what to do with the recordings"))
    add(work, "--check", text="decode all of them and write what is wrong into report.csv", action="store_true")
    add(work, "--drop", text="with --check: leave those out of the lists", action="store_true")
    add(work, "--convert", text="convert all of them once to 16 kHz mono; a run that was stopped goes on",
        choices=["wav", "flac"])  # fmt: skip
    add(
        work,
        "--num_workers",
        text="processes (default: one per core)",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    if args.drop and not args.check:
        raise ConfigError("--drop leaves out what --check finds: give both.")
    modes = [name for name in ("corpus", "lists", "trials_from") if getattr(args, name)]
    if len(modes) > 1:
        raise ConfigError(f"--{modes[0]} and --{modes[1]} cannot be given together.")
    if args.trials_from:
        _make_trials(args)
        return
    if args.corpus:
        written = _make_lists(args)
        if written is None:
            return
    elif not (args.check or args.convert):
        raise ConfigError("nothing to do: give --corpus NAME --root DIR, --trials_from LIST, --check or --convert.")
    else:
        written = {}
    if args.check or args.convert:
        from mvector.data.rework import lists_in, lists_named, rework

        files = lists_named(_commas(args.lists)) if args.lists else lists_in(written.get("folder", args.output))
        shared = args.split == "identification"
        told = rework(files, args.output, args.check, args.drop, args.convert, args.num_workers, shared)
        print("\n".join(translate(line) for line in told.splitlines()))


def _make_lists(args: argparse.Namespace) -> dict[str, str] | None:
    """Write the lists of --corpus; None when they are sounds for augmentation, which need none."""
    from mvector.data.corpora.base import AugmentationCorpus
    from mvector.data.lists import read_data_list
    from mvector.data.prepare import (
        TrialOptions,
        augmentation_settings,
        choose_official_trials,
        config_keys,
        divide,
        read_sources,
        write_lists,
    )
    from mvector.data.statistics import format_statistics, list_statistics
    from mvector.registry import CORPORA

    names = _commas(args.corpus)
    if "demo" in names:
        return _make_demo(args, names)
    if not args.root:
        corpus = CORPORA.get(names[0])()
        raise corpus.error("--corpus needs --root DIR, the folder that the corpus was unpacked into")
    sources = read_sources(names, _commas(args.root))
    augmentation = [source for source in sources if isinstance(source.corpus, AugmentationCorpus)]
    speech = [source for source in sources if source not in augmentation]
    for source in augmentation:
        print(
            translate("{corpus}: {count} sounds. Put into configs/augmentation.yml:").format(
                corpus=source.name, count=f"{len(source.recordings):,}"
            )
        )
        for key, folder in augmentation_settings(source).items():
            section, name = key.split(".")
            print(f"{section}:\n  prob: 0.5\n  {name}: '{folder}'")
    if not speech:
        return None

    within = args.split == "identification"
    if not within:
        speech = choose_official_trials(speech, args.trial_list)
    parts = divide(speech, within, _count(args, "dev_speakers"), _count(args, "test_speakers"), args.seed)
    options = TrialOptions(args.targets, args.nontargets, args.same_sex_share, args.seed)
    written = write_lists(args.output, speech, parts, options, within)

    lists = {name: read_data_list(path) for name, path in written.items() if name.endswith("_list")}
    statistics = list_statistics({written[name].name: utterances for name, utterances in lists.items()})
    print(format_statistics(statistics))
    for name in ("dev_trials", "test_trials"):
        if name in written:
            print(translate(_count_trials(written[name])))
    unreadable = [path for row in statistics.values() for path in row.unreadable]
    if unreadable:
        print(
            translate("{count} recordings cannot be read, {path} for one: --check --drop leaves them out.").format(
                count=len(unreadable), path=unreadable[0]
            )
        )
    settings = " ".join(f"--set {key}={path}" for key, path in config_keys(written).items())
    print(f"\n{translate('Next')}:\n  python train.py --configs configs/ecapa_tdnn.yml {settings}")
    return {"folder": args.output}


def _make_demo(args: argparse.Namespace, names: list[str]) -> dict[str, str]:
    """The synthetic corpus makes its recordings and its lists by itself."""
    from mvector.data.corpora.demo import STATEMENT, ensure_demo_corpus
    from mvector.data.lists import read_data_list
    from mvector.data.statistics import format_statistics, list_statistics

    if names != ["demo"]:
        raise ConfigError("the demo corpus is synthetic and is not mixed with others: give --corpus demo alone.")
    folder = ensure_demo_corpus(args.root or Path(args.output) / "demo", args.seed)
    print(format_statistics(list_statistics({"train_list.txt": read_data_list(folder / "train_list.txt")})))
    print(f"{translate(STATEMENT)}\n\n{translate('Next')}:\n  python train.py --configs configs/quickstart.yml")
    return {"folder": str(folder)}


def _make_trials(args: argparse.Namespace) -> None:
    from mvector.data.corpora.base import gender_letter, read_table
    from mvector.data.list_writer import write_trials
    from mvector.data.lists import read_data_list
    from mvector.data.trial_maker import Voice, make_trials

    utterances = read_data_list(args.trials_from)
    if any(u.start_s is not None or u.end_s is not None for u in utterances):
        raise DataListError(f"{args.trials_from}: trials name whole recordings, but this list has parts of them.")
    genders: dict[str, str | None] = {}
    if args.genders:
        if not Path(args.genders).is_file():
            raise DataListError(f"{args.genders}: there is no such file; expected 'speaker<TAB>m|f' per line.")
        genders = {row[0]: gender_letter(row[1]) for row in read_table(Path(args.genders)) if len(row) > 1}
    voices = [Voice(u.path.replace(os.sep, "/"), u.speaker, genders.get(u.speaker)) for u in utterances]
    trials = make_trials(voices, None, args.targets, args.nontargets, args.same_sex_share, args.seed)
    path = Path(args.output) / f"{Path(args.trials_from).stem.removesuffix('_list')}_trials.txt"
    write_trials(path, trials)
    print(translate(_count_trials(path)))
    print(
        f"\n{translate('Next')}:\n  python eval.py --model_path models/EcapaTdnn_Fbank/best_model "
        f"--set dataset_conf.trials_list={path.as_posix()}"
    )


def _count_trials(path: Path) -> str:
    """'test_trials.txt: 1,000 target and 10,000 non-target trials'."""
    targets = non_targets = 0
    with open(path, encoding="utf-8") as file:
        for line in file:
            target = line.startswith("1\t") or line.endswith("\ttarget\n")
            targets, non_targets = targets + target, non_targets + (not target)
    return f"{path.name}: {targets:,} target and {non_targets:,} non-target trials"


def _commas(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _count(args: argparse.Namespace, name: str) -> int | float | None:
    """A number of speakers, or a share of them."""
    text = getattr(args, name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value < 0 or (value >= 1 and value != int(value)):
        raise ConfigError(
            f"--{name}: expected a number of speakers (20) or a share of them below 1 (0.1), found {text!r}."
        )
    return value if 0 < value < 1 else int(value)


def _corpus_names() -> list[str]:
    from mvector.registry import CORPORA

    return CORPORA.names()
