"""The synthetic corpus: complete or not there at all, the same bytes every time, never mistaken for real speech."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.config import load_config
from mvector.data import synthetic_speakers
from mvector.data.corpora import demo
from mvector.data.corpora.demo import ensure_demo_corpus, synthetic_statement
from mvector.data.lists import read_data_list
from mvector.data.synthetic_sentences import PHRASES
from mvector.data.synthetic_speakers import demo_speakers, speak
from mvector.data.trials import read_trials
from mvector.errors import DataListError, MissingPackageError
from mvector.registry import CORPORA

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yml"


def _few_speakers(seed: int = 0) -> dict[str, list[synthetic_speakers.SyntheticSpeaker]]:
    return {subset: speakers[:2] for subset, speakers in demo_speakers(seed).items()}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two speakers in each subset, three utterances each."""
    monkeypatch.setattr(demo, "demo_speakers", _few_speakers)
    monkeypatch.setattr(demo, "UTTERANCES_PER_SPEAKER", 3)


def test_the_plan_is_large_enough_and_subsets_share_nobody() -> None:
    plan = demo_speakers()
    assert len(plan["train"]) >= 40
    assert synthetic_speakers.UTTERANCES_PER_SPEAKER >= 20
    everyone = [speaker for speakers in plan.values() for speaker in speakers]
    assert len({speaker.name for speaker in everyone}) == len(everyone)
    variants = {subset: {speaker.variant for speaker in speakers} for subset, speakers in plan.items()}
    assert not variants["train"] & (variants["dev"] | variants["test"])
    assert not variants["dev"] & variants["test"]


def test_a_language_does_not_tell_the_speaker() -> None:
    for speakers in demo_speakers().values():
        assert all(len(set(speaker.languages)) == 3 for speaker in speakers)
        for language in PHRASES:
            assert sum(language in speaker.languages for speaker in speakers) >= 3


def test_speakers_who_share_a_variant_differ_in_the_vocal_tract() -> None:
    tracts: dict[str, list[float]] = {}
    for speaker in demo_speakers()["train"]:
        tracts.setdefault(speaker.variant, []).append(speaker.tract_scale)
    for scales in tracts.values():
        assert len(scales) == 2
        assert max(scales) / min(scales) > 1.05


def test_a_speaker_is_the_same_bytes_whoever_spoke_before() -> None:
    a, b = demo_speakers()["train"][10:12]
    alone = [waveform.tobytes() for waveform in speak(a, 4)]
    list(speak(b, 4))
    again = [waveform.tobytes() for waveform in speak(a, 4)]
    assert alone == again
    assert len(set(alone)) == 4
    assert alone != [waveform.tobytes() for waveform in speak(a, 4, seed=1)]


def test_utterances_are_16_khz_in_range_and_differ_in_level_and_length() -> None:
    waveforms = list(speak(demo_speakers()["test"][0], 12))
    seconds = np.array([len(waveform) / 16000 for waveform in waveforms])
    levels_db = np.array([10 * np.log10(np.mean(waveform**2)) for waveform in waveforms])
    assert all(waveform.dtype == np.float32 and np.abs(waveform).max() <= 1 for waveform in waveforms)
    assert seconds.min() >= 1.5
    assert seconds.max() <= 4.0
    assert np.ptp(levels_db) > 3
    assert levels_db.min() > -34
    assert levels_db.max() < -16


def test_the_corpus_is_written_whole(small: None, tmp_path: Path) -> None:
    root = ensure_demo_corpus(tmp_path / "数据" / "demo")
    assert [path.name for path in root.parent.iterdir()] == ["demo"]  # nothing half-made is left
    train = read_data_list(root / "train_list.txt")
    assert len(train) == 6
    assert len({utterance.speaker for utterance in train}) == 2
    for utterance in train:
        info = soundfile.info(utterance.path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    trained_on = {Path(utterance.path) for utterance in train}
    for subset in ("dev", "test"):
        trials = read_trials(root / f"{subset}_trials.txt")
        assert len(trials.labels) == 15  # every pair of six recordings
        assert trials.labels.sum() == 6
        used = {Path(utterance.path) for utterance in trials.utterances}
        assert len(used) == 6
        assert all(path.is_file() for path in used)
        assert not used & trained_on
    marker = json.loads((root / "corpus.json").read_text(encoding="utf-8"))
    assert marker["synthetic"] is True
    assert marker["trials"]["dev"] == {"targets": 6, "non_targets": 9}
    assert "synthetic" in (root / "README.txt").read_text(encoding="utf-8")
    assert len(CORPORA.get("demo")().recordings(root)) > 0


def test_the_same_seed_gives_the_same_files_with_any_number_of_threads(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contents(root: Path) -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.*"))}

    several = contents(ensure_demo_corpus(tmp_path / "several"))
    monkeypatch.setattr(demo.os, "cpu_count", lambda: 1)
    assert contents(ensure_demo_corpus(tmp_path / "one")) == several


def test_a_complete_corpus_is_left_alone_and_an_old_version_is_made_again(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = ensure_demo_corpus(tmp_path / "demo")
    recording = next(root.glob("train-*/01.wav"))
    before = recording.stat().st_mtime_ns
    assert ensure_demo_corpus(root) == root
    assert recording.stat().st_mtime_ns == before
    monkeypatch.setattr(demo, "_VERSION", demo._VERSION + 1)
    ensure_demo_corpus(root)
    assert recording.stat().st_mtime_ns != before


def test_an_interrupted_corpus_leaves_nothing(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_trials", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure_demo_corpus(tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


def test_somebodys_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine.wav").write_bytes(b"precious")
    with pytest.raises(DataListError, match="not a demo corpus"):
        ensure_demo_corpus(tmp_path / "demo")
    assert (tmp_path / "demo" / "mine.wav").read_bytes() == b"precious"


def test_a_missing_synthesiser_is_named_and_leaves_nothing(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingPackageError, match=r'pip install -e "\.\[train\]"'):
        ensure_demo_corpus(tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


def test_the_statement_goes_with_the_lists(tmp_path: Path) -> None:
    (tmp_path / "corpus.json").write_text('{"synthetic": true, "statement": "Made up."}', encoding="utf-8")
    assert synthetic_statement(tmp_path / "any_list.txt") == "Made up."
    (tmp_path / "corpus.json").write_text('{"synthetic": true}', encoding="utf-8")
    assert "synthetic" in str(synthetic_statement(tmp_path / "any_list.txt"))
    for text in ('{"synthetic": false}', "{}", "[]", "not JSON"):
        (tmp_path / "corpus.json").write_text(text, encoding="utf-8")
        assert synthetic_statement(tmp_path / "any_list.txt") is None
    assert synthetic_statement(tmp_path / "elsewhere" / "list.txt") is None
    assert synthetic_statement(None) is None


def test_the_quickstart_configuration_uses_the_corpus() -> None:
    data = load_config(QUICKSTART).dataset_conf
    folder = Path("dataset/demo")
    assert Path(data.train_list) == folder / "train_list.txt"
    assert Path(data.dev_trials_list) == folder / "dev_trials.txt"
    assert Path(data.trials_list) == folder / "test_trials.txt"
