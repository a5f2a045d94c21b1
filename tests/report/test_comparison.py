"""Runs side by side: the same trials however they are stored, and differences that are those of the bootstrap."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from mvector.errors import MVectorError
from mvector.metrics.confidence import paired_difference
from mvector.metrics.summary import detection_metrics
from mvector.report import Report, write_report
from mvector.report.comparison import compare, holm
from mvector.report.comparison_page import comparison_lines, write_comparison
from mvector.report.stored_scores import StoredScores, load_scores, save_scores
from mvector.report.words import Words

FEW = 50  # resamples


@pytest.fixture(scope="module")
def runs(make_trials, tmp_path_factory):
    """Two runs on the same trials, stored; the second is better."""
    folder = tmp_path_factory.mktemp("runs")
    loaded = []
    for name, separation in (("a", 2.0), ("b", 2.6)):
        trials, scored = make_trials(separation=separation)
        save_scores(folder / f"{name}.npz", scored, trials)
        loaded.append((name, load_scores(folder / f"{name}.npz")))
    return loaded


def test_scores_come_back_from_the_disk(make_trials, tmp_path, hostile_name):
    trials, scored = make_trials()
    result = detection_metrics(scored.scores, scored.labels).as_dict()
    write_report(tmp_path, Report("x", result, scored, trials))
    stored = load_scores(tmp_path)
    assert np.array_equal(stored.scores, scored.scores)
    assert np.array_equal(stored.labels, scored.labels)
    assert np.array_equal(stored.enroll, scored.enroll)
    assert np.array_equal(stored.test_speakers, trials.test_speakers)
    assert stored.test_names == [u.path for u in trials.utterances]
    assert f"wav/{hostile_name}/0.wav" in stored.enroll_names


def test_differences_are_those_of_the_paired_bootstrap(runs):
    (_, a), (_, b) = runs
    comparison = compare(runs, ("eer", "min_dcf_0.01", "frr_at_far_0.001"), resamples=FEW)
    people = a.enroll_speakers[a.enroll], a.test_speakers[a.test]
    for metric in ("eer", "min_dcf_0.01"):
        expected = paired_difference(b.scores, a.scores, a.labels, *people, metric, resamples=FEW)
        (found,) = comparison.differences[metric]
        assert found.measured == expected
        assert found.p_value == expected.p_value
        assert comparison.values[metric] == [expected.value_b, expected.value_a]
    assert comparison.differences["eer"][0].measured.difference < 0
    assert comparison.differences["eer"][0].larger_than_chance
    assert comparison.not_measurable == {"frr_at_far_0.001": 30000}
    assert (comparison.targets, comparison.non_targets, comparison.people) == (360, 9936, 24)


def shuffled(run: StoredScores, seed=0) -> StoredScores:
    """The same scores: trials and recordings in another order, half of the pairs the other way round, moved."""
    rng = np.random.default_rng(seed)
    names = list(rng.permutation(run.test_names))
    of = {name: n for n, name in enumerate(names)}
    order = rng.permutation(len(run.scores))
    one = np.array([of[run.enroll_names[e]] for e in run.enroll[order]])
    other = np.array([of[run.test_names[t]] for t in run.test[order]])
    swap = rng.random(len(order)) < 0.5
    speaker = dict(zip(run.test_names, run.test_speakers.tolist(), strict=True))
    people = np.array([speaker[name] for name in names])
    moved = [f"/mnt/other/{name}" for name in names]
    return StoredScores(
        run.scores[order], run.labels[order], np.where(swap, other, one), np.where(swap, one, other),
        moved, moved, people, people,
    )  # fmt: skip


def test_order_sides_and_folders_do_not_matter(runs):
    plain = compare(runs, ("eer",), resamples=FEW)
    mixed = compare([runs[0], ("b", shuffled(runs[1][1]))], ("eer",), resamples=FEW)
    assert mixed.values == plain.values
    assert mixed.differences["eer"][0].measured == plain.differences["eer"][0].measured
    assert set(mixed.given) == {plain.targets + plain.non_targets}


def test_only_shared_trials_are_compared(runs):
    (_, a), (_, b) = runs
    keep_a, keep_b = np.arange(len(a.scores)) % 3 > 0, np.arange(len(a.scores)) % 5 > 0

    def part(run, keep):
        chosen = {name: getattr(run, name)[keep] for name in ("scores", "labels", "enroll", "test")}
        return dataclasses.replace(run, **chosen)

    comparison = compare([("a", part(a, keep_a)), ("b", part(b, keep_b))], ("eer",), resamples=FEW)
    both = keep_a & keep_b
    assert comparison.given == (keep_a.sum(), keep_b.sum())
    assert comparison.targets + comparison.non_targets == both.sum()
    people = a.enroll_speakers[a.enroll][both], a.test_speakers[a.test][both]
    expected = paired_difference(b.scores[both], a.scores[both], a.labels[both], *people, "eer", resamples=FEW)
    assert comparison.values["eer"] == [expected.value_b, expected.value_a]
    text = "\n".join(comparison_lines(comparison, Words("en")))
    assert "The runs did not score the same trials" in text
    assert f"a: {both.sum():,} of its {keep_a.sum():,} trials" in text


def test_runs_of_other_trials_are_refused(runs):
    (_, a), (_, b) = runs
    wrong = dataclasses.replace(b, labels=b.labels.copy())
    wrong.labels[:7] = ~wrong.labels[:7]
    with pytest.raises(MVectorError, match="wrong calls 7 trials target that a calls non-target"):
        compare([("a", a), ("wrong", wrong)], ("eer",))
    names = [f"{name}.flac" for name in b.test_names]
    with pytest.raises(MVectorError, match="a and other have no trial in common"):
        compare([("a", a), ("other", dataclasses.replace(b, enroll_names=names, test_names=names))], ("eer",))
    with pytest.raises(MVectorError, match="at least two"):
        compare([("a", a)])
    with pytest.raises(MVectorError, match="unknown metric"):
        compare(runs, ("min_dcf_x",))


def test_holm_by_hand():
    assert holm([0.01]) == [0.01]
    # Sorted: 0.01·4, 0.02·3, 0.03·2, 0.04·1, and no value below the one before it.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_the_first_of_several_runs_is_the_measure(runs):
    (_, a), (_, b) = runs
    comparison = compare([("first", a), ("same", a), ("better", b)], ("eer",), resamples=FEW)
    same, better = comparison.differences["eer"]
    assert (same.run, same.measured.difference, same.larger_than_chance) == ("same", 0.0, False)
    assert better.p_value == min(1.0, 2 * better.measured.p_value)


def test_page_and_lines(runs, tmp_path, hostile_name):
    comparison = compare([(hostile_name, runs[0][1]), runs[1]], ("eer", "frr_at_far_0.001"), resamples=FEW)
    text = write_comparison(tmp_path, comparison).read_text(encoding="utf-8")
    assert hostile_name not in text
    assert "<script" not in text
    assert "larger than chance, better" in text
    assert "not measurable: needs 30,000 non-target trials" in text
    stored = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    (difference,) = stored["differences_from_first"]["eer"]
    assert difference["difference"] == comparison.differences["eer"][0].measured.difference
    assert difference["larger_than_chance"] is True
    assert stored["shared_trials"] == 360 + 9936
    chinese = "\n".join(comparison_lines(comparison, Words("zh")))
    assert "超出偶然，更好" in chinese
    assert "无法测量" in chinese


def test_few_speakers_certify_nothing(make_trials, tmp_path):
    stored = []
    for name, separation in (("a", 0.5), ("b", 5.0)):
        trials, scored = make_trials(people=8, separation=separation)
        save_scores(tmp_path / name, scored, trials)
        stored.append((name, load_scores(tmp_path / f"{name}.npz")))
    lines = comparison_lines(compare(stored, ("eer",), resamples=FEW), Words("en"))
    assert any("Only 8 speakers" in line for line in lines)
    assert lines[-1].endswith("too few speakers to tell")


# ---------------------------------------------------------------- score files


def test_a_text_file_tells_who_is_who_by_its_target_trials(tmp_path):
    path = tmp_path / "scores.txt"
    path.write_text("m1 a.wav 0.5 target\nm1 b.wav 0.1 nontarget\nm2 b.wav 2e-1 1\nc.wav a.wav .9 target\n", "utf-8")
    stored = load_scores(path)
    assert stored.scores.tolist() == [0.5, 0.1, 0.2, 0.9]
    assert stored.labels.tolist() == [True, False, True, True]
    people = dict(zip(stored.enroll_names, stored.enroll_speakers.tolist(), strict=True))
    assert people["m1"] == people["a.wav"] == people["c.wav"]
    assert people["m2"] == people["b.wav"] != people["m1"]
    assert [stored.enroll_names[e] for e in stored.enroll] == ["m1", "m1", "m2", "c.wav"]
    assert [stored.test_names[t] for t in stored.test] == ["a.wav", "b.wav", "b.wav", "a.wav"]


def test_people_are_found_through_long_chains(tmp_path):
    """A chain of 500 recordings in random order is one person, a second chain another."""
    rng = np.random.default_rng(0)
    lines = [f"{who}{n} {who}{n + 1} 0.5 target" for who in "xy" for n in range(500)]
    path = tmp_path / "scores.txt"
    path.write_text("\n".join(rng.permutation(lines)), "utf-8")
    stored = load_scores(path)
    groups = {(name[0], person) for name, person in zip(stored.test_names, stored.test_speakers.tolist(), strict=True)}
    assert len(groups) == 2


def test_a_text_file_and_a_report_of_the_same_trials(runs, tmp_path):
    (_, a), (_, b) = runs
    path = tmp_path / "scores.txt"
    path.write_text(
        "".join(
            f"{b.enroll_names[e]}\t{b.test_names[t]}\t{float(s)!r}\t{'target' if label else 'nontarget'}\n"
            for s, label, e, t in zip(b.scores, b.labels, b.enroll, b.test, strict=True)
        ),
        encoding="utf-8",
    )
    assert compare([("a", a), ("b", load_scores(path))], ("eer",), resamples=FEW).values == (
        compare(runs, ("eer",), resamples=FEW).values
    )


@pytest.mark.parametrize("line", ["a b 0.5", "a b 0.5 maybe", "a b high target", "a b c 0.5 target"])
def test_mistakes_in_a_text_file(tmp_path, line):
    path = tmp_path / "scores.txt"
    path.write_text(f"a b 0.5 target\n\n{line}\n")
    with pytest.raises(MVectorError, match=r"scores.txt:3: expected 'enroll test score target\|nontarget', found"):
        load_scores(path)


def test_what_is_no_score_file(tmp_path, trials_and_scores):
    with pytest.raises(MVectorError, match="no such report folder or score file"):
        load_scores(tmp_path / "nowhere")
    with pytest.raises(MVectorError, match=r"has no scores\.npz"):
        load_scores(tmp_path)
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(MVectorError, match="the score file is empty"):
        load_scores(tmp_path / "empty.txt")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(MVectorError, match="not a score file of a report"):
        load_scores(tmp_path / "other.npz")
    np.savez(tmp_path / "pickled.npz", format=np.array(1), scores=np.array([{}], dtype=object))
    with pytest.raises(MVectorError, match="not a score file of a report"):
        load_scores(tmp_path / "pickled.npz")
    np.savez(tmp_path / "newer.npz", format=np.array(99))
    with pytest.raises(MVectorError, match="another version"):
        load_scores(tmp_path / "newer.npz")
    binned = SimpleNamespace(scores=np.zeros(1), labels=np.ones(1, bool), counts=np.ones(1), enroll=None, test=None)
    save_scores(tmp_path / "binned.npz", binned, trials_and_scores[0])
    with pytest.raises(MVectorError, match="counted in bins"):
        load_scores(tmp_path / "binned.npz")
