"""Checking, dropping from and converting lists that exist: `create_data.py --check --drop --convert`."""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mvector.data.check import Finding, check_lists, summary, write_report
from mvector.data.convert import convert_recordings, renaming
from mvector.data.list_writer import rewrite_enroll_map, rewrite_trials, write_data_list, write_lines
from mvector.data.lists import Utterance, read_data_list
from mvector.data.prepare import ENROLL_MAP_FILE, LIST_FILES, TRIAL_FILES
from mvector.data.shards import names_shards
from mvector.data.trials import is_trial_list
from mvector.errors import DataListError

REPORT_FILE = "report.csv"
CONVERT_REPORT_FILE = "convert_report.csv"


@dataclass
class ListFiles:
    """Data lists (training first), trial lists and an enrollment map that belong together."""

    data: list[Path]
    trials: list[Path] = field(default_factory=list)
    enroll_map: Path | None = None

    def read(self) -> dict[str, list[Utterance]]:
        """File name → utterances of each data list."""
        names = [_list_name(path) for path in [*self.data, *self.trials]]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise DataListError(f"two lists are called {twice}; rename one, since both are written into one folder.")
        return {_list_name(path): read_data_list(path) for path in self.data}


def _list_name(path: Path) -> str:
    """What the list is called when it is written again; what is left of shards is a data list."""
    return f"{path.parent.name}_list.txt" if names_shards(path) else path.name


def lists_in(folder: str | Path) -> ListFiles:
    """The lists that create_data.py wrote into `folder`."""
    folder = Path(folder)
    data = [folder / name for name in LIST_FILES.values() if (folder / name).is_file()]
    if not data:
        raise DataListError(
            f"{folder}: none of {', '.join(LIST_FILES.values())} is there. Make lists with --corpus NAME --root DIR, "
            "or name your own with --lists."
        )
    trials = [folder / name for name in TRIAL_FILES.values() if (folder / name).is_file()]
    enroll_map = folder / ENROLL_MAP_FILE
    return ListFiles(data, trials, enroll_map if enroll_map.is_file() else None)


def lists_named(paths: Sequence[str]) -> ListFiles:
    """The data and trial lists at `paths`, told apart by their content; the first data list is the training list."""
    files = [Path(path) for path in paths]
    trials = [path for path in files if is_trial_list(path)]
    data = [path for path in files if path not in trials]
    if not data:
        raise DataListError(f"{', '.join(paths)}: no data list ('path<TAB>speaker' a line) among these.")
    return ListFiles(data, trials)


def rework(
    files: ListFiles,
    output: str | Path,
    check: bool,
    drop: bool,
    audio_format: str | None,
    num_workers: int,
    shared_speakers: bool = False,
) -> str:
    """Do what was asked to the lists and write them into `output`; returns what was done, as lines to print."""
    lists = files.read()
    output, told = Path(output), []
    rename: dict[str, str | None] = {}
    if check:
        findings = check_lists(lists, num_workers, shared_speakers)
        write_report(output / REPORT_FILE, findings)
        told.append(f"found: {summary(findings)}; see {(output / REPORT_FILE).as_posix()}")
        if drop:
            lists, rename, dropped = _drop(lists, findings)
            told.append(f"left out: {dropped} lines")
    if audio_format:
        sources = [utterance.path for utterances in lists.values() for utterance in utterances]
        new_paths, failed = convert_recordings(sources, output / f"audio_{audio_format}", audio_format, num_workers)
        report = output / CONVERT_REPORT_FILE
        report.unlink(missing_ok=True)
        told.append(f"converted: {len(new_paths)} recordings in {(output / f'audio_{audio_format}').as_posix()}")
        if failed:
            write_lines(report, sorted((path, " ".join(reason.split())) for path, reason in failed.items()))
            told.append(f"not converted and left out of the lists: {len(failed)} recordings, see {report.as_posix()}")
        lists = {
            name: [replace(u, path=new_paths[u.path]) for u in utterances if u.path in new_paths]
            for name, utterances in lists.items()
        }
        rename |= renaming(new_paths, failed)
    if drop or audio_format:
        _write(files, lists, rename, output)
        told.append(f"written: {', '.join((output / name).as_posix() for name in lists)}")
    return "\n".join(told)


def _drop(
    lists: dict[str, list[Utterance]], findings: Sequence[Finding]
) -> tuple[dict[str, list[Utterance]], dict[str, str | None], int]:
    """The lists without the lines in `findings`, and the recordings that no list has any more."""
    bad: dict[str, set[int]] = defaultdict(set)
    for finding in findings:
        bad[finding.list_name].add(finding.line)
    kept = {
        name: [utterance for line, utterance in enumerate(utterances) if line not in bad[name]]
        for name, utterances in lists.items()
    }
    remaining = {utterance.path for utterances in kept.values() for utterance in utterances}
    gone = {u.path for utterances in lists.values() for u in utterances} - remaining
    return kept, {path.replace(os.sep, "/"): None for path in gone}, sum(map(len, bad.values()))


def _write(files: ListFiles, lists: dict[str, list[Utterance]], rename: dict[str, str | None], output: Path) -> None:
    for name, utterances in lists.items():
        if not utterances:
            raise DataListError(
                f"{name}: no usable recording is left, so nothing was written; see {output.as_posix()}."
            )
    for name, utterances in lists.items():
        write_data_list(output / name, utterances)
    gone = rewrite_enroll_map(files.enroll_map, output / files.enroll_map.name, rename) if files.enroll_map else set()
    for path in files.trials:
        rewrite_trials(path, output / path.name, rename, files.enroll_map is not None, gone)
