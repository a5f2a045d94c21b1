"""From corpus folders to data lists and trials: what `create_data.py --corpus` does before it prints."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mvector.data.corpora.base import AugmentationCorpus, Corpus, OfficialTrials, Recording
from mvector.data.list_writer import write_data_list, write_enroll_map, write_lines, write_trials
from mvector.data.lists import Utterance
from mvector.data.split import Parts, speakers_of, split_by_speaker, split_within_speakers
from mvector.data.trial_maker import Voice, make_trials
from mvector.errors import DataListError, nearest
from mvector.registry import CORPORA

logger = logging.getLogger("mvector")

# What is written, in the order of checking: training first. The names go with the keys of dataset_conf.
LIST_FILES = {"train": "train_list.txt", "dev": "dev_list.txt", "enroll": "enroll_list.txt", "test": "test_list.txt"}
TRIAL_FILES = {"dev": "dev_trials.txt", "test": "test_trials.txt"}
ENROLL_MAP_FILE = "enroll_map.txt"
GENDERS_FILE = "genders.txt"


@dataclass(frozen=True)
class Source:
    """One corpus folder. `label` stands before the speakers' names where there are several corpora, else empty."""

    name: str
    root: str
    corpus: Corpus
    label: str
    recordings: list[Recording]
    official: OfficialTrials | None = None


@dataclass(frozen=True)
class TrialOptions:
    targets: int | None = None
    non_targets: int | None = None
    same_sex_share: float | None = None
    seed: int = 0


def read_sources(names: Sequence[str], roots: Sequence[str]) -> list[Source]:
    """The recordings of each corpus; one root may serve all of them. Raises DataListError for what is missing."""
    if len(roots) == 1:
        roots = list(roots) * len(names)
    if len(roots) != len(names):
        raise DataListError(f"{len(names)} corpora need as many folders (or one that holds all), found {len(roots)}.")
    labels = _labels(names, roots)
    sources = []
    for name, root, label in zip(names, roots, labels, strict=True):
        corpus = CORPORA.get(name)()
        recordings = [r._replace(speaker=_labelled(label, r.speaker)) for r in corpus.recordings(root)]
        sources.append(Source(name, root, corpus, label, recordings))
    return sources


def augmentation_settings(source: Source) -> dict[str, str]:
    """Key of the augmentation file → folder, for a corpus that is not speech to train on."""
    assert isinstance(source.corpus, AugmentationCorpus)
    sections = source.corpus.sections(source.corpus.locate(source.root))
    return {key: folder.as_posix() for key, folder in sections.items()}


def choose_official_trials(sources: Sequence[Source], wanted: str | None) -> list[Source]:
    """The sources with their official trial list: `wanted` (a name such as 'H-cleaned'), else the usual one.

    Where that list is missing and was not asked for by name, one line says what to download.
    """
    known = {name for source in sources for name in source.corpus.trial_lists}
    if wanted is not None and wanted not in known:
        there_are = f"there are: {', '.join(sorted(known))}" if known else "none of the corpora has one"
        raise DataListError(f"unknown official trial list {wanted!r}; {there_are}.{nearest(wanted, known)}")
    chosen = []
    for source in sources:
        lists = source.corpus.trial_lists
        asked = wanted if wanted in lists else None
        names = list(lists) if asked is None else [asked]
        found = next((name for name in names if source.corpus.trial_list_file(source.root, name)), None)
        if found is None and asked is not None:
            raise source.corpus.error(f"the trial list {lists[asked]} ({asked}) is missing in {source.root}")
        if found is None and lists:
            logger.warning(
                f"{source.name}: no official trial list was found ({next(iter(lists.values()))} is the usual one, from "
                f"{source.corpus.homepage}), so trials are drawn at random"
            )
        official = source.corpus.trials(source.root, source.recordings, found) if found else None
        chosen.append(replace(source, official=official))
    return chosen


def divide(
    sources: Sequence[Source],
    within_speakers: bool = False,
    dev_speakers: int | float | None = None,
    test_speakers: int | float | None = None,
    seed: int = 0,
) -> Parts:
    """All recordings as train, dev, enroll and test. The speakers of an official trial list never stay in training."""
    recordings: list[Recording] = []
    for source in sources:
        own = source.recordings
        if source.official is not None and not within_speakers:
            used = {r.speaker for r in own if r.path in source.official.used}
            moved = [r for r in own if r.speaker in used and r.split in (None, "train", "dev")]
            if moved:
                logger.warning(
                    f"{source.official.name} uses {len(speakers_of(moved))} speakers of {source.name} that could be "
                    "trained on otherwise; they are test speakers now"
                )
            own = [r._replace(split="test") if r.speaker in used and r.split != "enroll" else r for r in own]
        recordings += own
    if within_speakers:
        return split_within_speakers(recordings, seed)
    return split_by_speaker(recordings, dev_speakers, test_speakers, seed)


def write_lists(
    output: str | Path, sources: Sequence[Source], parts: Parts, options: TrialOptions, within_speakers: bool = False
) -> dict[str, Path]:
    """Write every list and trial list; returns key of dataset_conf (and 'dev_list', …) → file.

    Files of the same names that an earlier run left are replaced or, if this run has none, removed.
    """
    output = Path(output)
    written: dict[str, Path] = {}
    for part, file_name in LIST_FILES.items():
        if parts[part]:
            utterances = (Utterance(recording.path.as_posix(), recording.speaker) for recording in parts[part])
            write_data_list(output / file_name, utterances)
            written[f"{part}_list"] = output / file_name

    official = [source for source in sources if source.official is not None and not within_speakers]
    enroll = parts["train"] if within_speakers else None
    for part, file_name in TRIAL_FILES.items():
        path = output / file_name
        if part == "test" and official:
            _write_official(path, output / ENROLL_MAP_FILE, official[0], written)
            for other in official[1:]:
                logger.warning(
                    f"{path} holds the trials of {official[0].name}; run again for those of {other.name} alone"
                )
        elif parts[part]:
            voices = _voices(parts[part], sources)
            trials = make_trials(
                voices,
                None if enroll is None else _voices(enroll, sources),
                options.targets,
                options.non_targets,
                options.same_sex_share,
                options.seed,
            )
            write_trials(path, trials)
        else:
            continue
        written[f"{part}_trials"] = path

    genders = {r.speaker: r.gender for recordings in parts.values() for r in recordings if r.gender}
    if genders:
        write_lines(output / GENDERS_FILE, sorted(genders.items()))
        written["genders"] = output / GENDERS_FILE
    for name in [*LIST_FILES.values(), *TRIAL_FILES.values(), ENROLL_MAP_FILE, GENDERS_FILE]:
        if output / name not in written.values():
            (output / name).unlink(missing_ok=True)
    return written


def config_keys(written: Mapping[str, Path]) -> dict[str, str]:
    """Key of the configuration → file, for the command that trains on the written lists."""
    keys = {
        "dataset_conf.train_list": "train_list",
        "dataset_conf.dev_trials_list": "dev_trials",
        "dataset_conf.trials_list": "test_trials",
        "dataset_conf.enroll_map": "enroll_map",
    }
    return {key: written[name].as_posix() for key, name in keys.items() if name in written}


def _write_official(path: Path, map_path: Path, source: Source, written: dict[str, Path]) -> None:
    official = source.official
    assert official is not None
    if not official.enroll_map:
        write_trials(path, official.trials)
        return
    names = {name: _labelled(source.label, name) for name in official.enroll_map}
    members = {names[name]: [p.as_posix() for p in paths] for name, paths in official.enroll_map.items()}
    write_enroll_map(map_path, members)
    write_trials(path, ((target, names[name], test) for target, name, test in official.trials), by_name=True)
    written["enroll_map"] = map_path


def _voices(recordings: Iterable[Recording], sources: Sequence[Source]) -> list[Voice]:
    group = {recording.path: source.label for source in sources for recording in source.recordings}
    return [Voice(r.path.as_posix(), r.speaker, r.gender, group[r.path]) for r in recordings]


def _labels(names: Sequence[str], roots: Sequence[str]) -> list[str]:
    """What stands before the speakers' names: nothing for one corpus, else its name, with its folder's if need be."""
    if len(names) == 1:
        return [""]
    labels = [
        name if names.count(name) == 1 else f"{name}-{Path(root).resolve().name}"
        for name, root in zip(names, roots, strict=True)
    ]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise DataListError(f"two corpora would both be called {twice!r}; rename one of the two folders.")
    return labels


def _labelled(label: str, speaker: str) -> str:
    return f"{label}-{speaker}" if label else speaker
