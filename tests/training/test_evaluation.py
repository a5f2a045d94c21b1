"""Evaluation from recordings to figures, and the eval command."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from mvector.cli.calibrate import main as calibrate
from mvector.cli.evaluate import main as evaluate
from mvector.cli.extract_embeddings import main as extract
from mvector.cli.train import main as train
from mvector.cli.train import next_commands
from mvector.config import load_config
from mvector.data.lists import Utterance, read_data_list
from mvector.data.trials import load_trials
from mvector.embeddings import embed_utterances, read_waveform
from mvector.errors import ConfigError, DataListError, MVectorError
from mvector.evaluation import evaluate_trials
from mvector.model_directory import load_model
from mvector.predict import MVectorPredictor


def test_train_prints_commands_to_try_next(trained, capsys, config_file):
    train(["--configs", config_file, "--save_model_path", str(trained.parents[2] / "again"), "--log_dir",
           str(trained.parents[2] / "log2"), "--device", "cpu", "--set", "train_conf.max_epoch=1"])  # fmt: skip
    text = capsys.readouterr().out
    assert "eval.py --model_path" in text
    assert "infer_contrast.py --model_path" in text
    assert "visualdl --logdir" in text


def test_the_viewer_to_try_is_the_one_that_scalars_are_written_for(settings, tmp_path):
    for tracker, command in (("VisualDL", "visualdl --logdir log"), ("TensorBoard", "tensorboard --logdir log")):
        settings["train_conf"]["tracker"] = tracker
        run = SimpleNamespace(config=load_config(settings), folder=tmp_path, development=None)
        assert next_commands(run, Path("log"))[-1] == command


def test_eval_prints_one_line_and_writes_report_and_pictures(trained, capsys, tmp_path, corpus):
    evaluate(["--resume_model", str(trained), "--save_image_path", str(tmp_path / "图"), "--device", "cpu"])
    first, *others = capsys.readouterr().out.splitlines()
    report = json.loads((trained / "eval_test.json").read_text(encoding="utf-8"))
    assert f"EER {100 * report['eer']:.3f} %" in first
    assert "minDCF(0.01) not measurable: needs 2,970 non-target trials; " in first
    assert re.search(r"; \d+\.\d s$", first)
    assert report["accuracy_threshold"] == report["at_stored_threshold"]["threshold"]
    # Fewer than 30 errors are told as a count.
    assert any(re.fullmatch(r"at the stored threshold 0\.\d{4}: FRR \d+ of 24, FAR (\d+ of 96|[\d.]+ %)", line)
               for line in others)  # fmt: skip
    assert report["targets"] == 24
    assert report["non_targets"] == 96
    assert "is_development_list" not in report
    stored = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))["threshold"]
    assert report["at_stored_threshold"]["threshold"] == stored
    for name in ("det.png", "roc.png", "scores.png"):
        assert (tmp_path / "图" / name).read_bytes().startswith(b"\x89PNG")


def test_eval_on_the_development_list_says_so(trained, capsys, corpus):
    evaluate(["--model_path", str(trained), "--device", "cpu", "--set", f"dataset_conf.trials_list={corpus['dev']}"])
    assert "not a test result" in capsys.readouterr().out
    assert json.loads((trained / "eval_dev.json").read_text(encoding="utf-8"))["is_development_list"] is True


def test_a_trial_list_and_the_same_pairs_from_data_lists_agree(trained, corpus, tmp_path):
    model = load_model(trained)
    rows = read_data_list(corpus["test"])
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]]
    for form in ("voxceleb", "kaldi"):
        listing = tmp_path / f"{form}.txt"
        listing.write_text("".join(
            f"{int(a.speaker == b.speaker)}\t{a.path}\t{b.path}\n" if form == "voxceleb"
            else f"{a.path}\t{b.path}\t{'target' if a.speaker == b.speaker else 'nontarget'}\n"
            for a, b in pairs), encoding="utf-8")  # fmt: skip
        result, _ = evaluate_trials(model.embedder, model.config, load_trials(trials_list=listing))
        expected, _ = evaluate_trials(model.embedder, model.config, load_trials(trials_list=corpus["test"]))
        assert (result.targets, result.non_targets) == (expected.targets, expected.non_targets)
        # The two ways multiply in another order: cosines agree to float32 rounding.
        assert result.threshold == pytest.approx(expected.threshold, abs=1e-6)
        assert result.eer == pytest.approx(expected.eer, abs=1e-9)
        assert result.min_dcf == pytest.approx(expected.min_dcf, abs=1e-9)


def test_embeddings_do_not_depend_on_the_order_or_on_neighbours(trained, corpus):
    model = load_model(trained)
    rows = read_data_list(corpus["test"])
    config = model.config
    one = embed_utterances(model.embedder, config, rows).embeddings
    other = embed_utterances(model.embedder, config, rows[::-1]).embeddings
    np.testing.assert_array_equal(one, other[::-1])
    alone = embed_utterances(model.embedder, config, rows[5:6]).embeddings
    np.testing.assert_allclose(alone[0], one[5], rtol=1e-5, atol=1e-6)


def test_unusable_recordings_are_left_out_and_counted(trained, corpus, tmp_path, caplog):
    model = load_model(trained)
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(16000), 16000)
    text = Path(corpus["test"]).read_text(encoding="utf-8")
    listing = tmp_path / "with_bad.txt"
    listing.write_text(text + f"{silent}\ttest-10\n{tmp_path}/missing.wav\ttest-11\n", encoding="utf-8")
    result, _ = evaluate_trials(model.embedder, model.config, load_trials(trials_list=listing))
    assert len(result.left_out) == 2
    assert (result.targets, result.non_targets) == (24, 96)
    assert "2 recordings cannot be used" in caplog.text
    only_bad = tmp_path / "only_bad.txt"
    only_bad.write_text(f"{silent}\ta\n{silent}\tb\n{tmp_path}/missing.wav\ta\n", encoding="utf-8")
    with pytest.raises(DataListError, match="no recording"):
        evaluate_trials(model.embedder, model.config, load_trials(trials_list=only_bad))


# ---------------------------------------------------------------- scores, calibration, report


def run(capsys, *arguments) -> str:
    evaluate([*map(str, arguments), "--device", "cpu"])
    return capsys.readouterr().out


def results(trained) -> dict:
    return json.loads((trained / "eval_test.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("score", ["centred-cosine", "as-norm"])
def test_the_cohort_is_made_of_the_training_list_and_kept_with_the_model(trained, capsys, score):
    text = run(capsys, "--model_path", trained, "--score", score, "--top_n", "5")
    assert f"({score}): EER" in text
    assert "stored threshold" not in text  # it is a cosine
    written = (trained / "cohort.safetensors").read_bytes()
    first = results(trained)["eer"]
    run(capsys, "--model_path", trained, "--score", score, "--top_n", "5")
    assert results(trained)["eer"] == first
    assert (trained / "cohort.safetensors").read_bytes() == written


def test_packed_embeddings_give_the_same_figures_and_plda_is_fitted_to_those_of_the_training(
    trained, capsys, tmp_path, corpus
):
    for name in ("train", "test"):
        extract(["--model_path", str(trained), "--list", corpus[name], "--output", str(tmp_path / name),
                 "--device", "cpu"])  # fmt: skip
    run(capsys, "--model_path", trained)
    expected = results(trained)
    run(capsys, "--model_path", trained, "--embeddings", tmp_path / "test")
    found = results(trained)
    assert {**found, "seconds": 0} == {**expected, "seconds": 0}
    with pytest.raises(MVectorError, match=r"has no plda.safetensors: give training embeddings"):
        run(capsys, "--model_path", trained, "--score", "plda")
    run(capsys, "--model_path", trained, "--score", "plda", "--training_embeddings", tmp_path / "train")
    first = results(trained)["eer"]
    run(capsys, "--model_path", trained, "--score", "plda")
    assert results(trained)["eer"] == first


def test_scores_are_calibrated_by_the_model_or_on_other_trials(trained, capsys, corpus):
    text = run(capsys, "--model_path", trained)
    stored = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))["calibration"]
    assert results(trained)["calibration"] == stored
    assert "Cllr" in text
    run(capsys, "--model_path", trained, "--score", "as-norm", "--top_n", "4")
    assert results(trained)["cllr"] is None
    run(capsys, "--model_path", trained, "--score", "as-norm", "--top_n", "4", "--calibration_list", corpus["dev"])
    assert results(trained)["cllr"] > 0
    text = run(capsys, "--model_path", trained, "--qmf", "--calibration_list", corpus["dev"])
    assert "(cosine, QMF): EER" in text
    assert set(results(trained)["calibration"]["weights"]) == {
        f"{name}_{end}" for name in ("log_duration", "magnitude", "cohort_mean") for end in ("min", "max")
    }
    with pytest.raises(ConfigError, match="--calibration_list, of speakers not in the test"):
        run(capsys, "--model_path", trained, "--qmf")


def test_enrollment_of_several_utterances(trained, capsys, corpus, tmp_path):
    rows = read_data_list(corpus["test"])
    speakers = sorted({row.speaker for row in rows})
    members = {name: [row.path for row in rows if row.speaker == name] for name in speakers}
    mapping, listing = tmp_path / "map.txt", tmp_path / "trials.txt"
    mapping.write_text("".join("\t".join((name, *members[name][:3])) + "\n" for name in speakers), encoding="utf-8")
    listing.write_text(
        "".join(f"{e}\t{members[t][3]}\t{'target' if e == t else 'nontarget'}\n" for e in speakers for t in speakers),
        encoding="utf-8",
    )
    lists = ["--set", f"dataset_conf.trials_list={listing}", "--set", f"dataset_conf.enroll_map={mapping}"]
    scores = {}
    for way in ("mean", "scores", "concatenate"):
        run(capsys, "--model_path", trained, "--enrollment", way, *lists, "--save_scores", tmp_path / "scores.txt")
        lines = (tmp_path / "scores.txt").read_text(encoding="utf-8").splitlines()
        scores[way] = [float(line.split("\t")[2] if "\t" in line else line.split()[2]) for line in lines]
    assert len(scores["mean"]) == 16
    model = load_model(trained)
    joined = np.concatenate([normalised(model.config, path) for path in members[speakers[0]][:3]])
    test = normalised(model.config, members[speakers[1]][3])
    one, other = (v / np.linalg.norm(v) for v in (model.embedder.embed([w])[0] for w in (joined, test)))
    assert scores["concatenate"][1] == pytest.approx(float(one @ other), abs=2e-5)
    assert not np.allclose(scores["concatenate"], scores["mean"], atol=1e-4)
    assert (np.array(scores["scores"]) <= np.array(scores["mean"]) + 1e-5).all()  # a mean vector is shorter than 1


def normalised(config, path):
    return read_waveform(config, Utterance(path, ""))


def test_shared_speakers_and_recordings_are_told(trained, capsys, corpus):
    text = run(capsys, "--model_path", trained, "--set", f"dataset_conf.trials_list={corpus['train']}")
    assert "The figures of this test are too good. Speakers trained on: 6" in text
    assert json.loads((trained / "eval_train.json").read_text(encoding="utf-8"))["leakage"]["recordings"] == 36
    run(capsys, "--model_path", trained)
    assert results(trained)["leakage"] == {
        "speakers": 0, "recordings": 0, "other_parts": 0, "content_compared": False
    }  # fmt: skip


def test_a_report_with_conditions(trained, capsys, tmp_path, corpus):
    metadata = tmp_path / "people.csv"
    people = sorted({row.speaker for row in read_data_list(corpus["test"])})
    metadata.write_text(
        "speaker,群体\n" + "".join(f"{name},{'甲' if i % 2 else '乙'}\n" for i, name in enumerate(people)),
        encoding="utf-8",
    )
    text = run(capsys, "--model_path", trained, "--report", tmp_path / "out", "--metadata", metadata)
    assert f"report saved in {tmp_path / 'out' / 'report.html'}" in text
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "群体" in page
    assert "<svg" in page
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))


def test_calibrating_on_own_recordings_replaces_the_threshold(trained, capsys, tmp_path, corpus):
    own = tmp_path / "own.txt"
    own.write_text("".join(Path(corpus[name]).read_text(encoding="utf-8") for name in ("dev", "test")), "utf-8")
    before = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))
    calibrate(["--model_path", str(trained), "--list", str(own), "--device", "cpu"])
    text = capsys.readouterr().out
    after = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))
    assert "48 target and 448 non-target trials by 8 people" in text
    assert f"threshold so far {before['threshold']:.4f}: FRR" in text
    assert f"new threshold {after['threshold']:.4f}: FRR" in text
    assert "on people who had no part in the choice" in text
    assert "fewer than 20 people" in text
    assert "below 6.7 % cannot be certified" in text
    assert after["threshold"] != before["threshold"]
    assert after["calibrated_on"]["list"] == str(own)
    assert after["development"] == before["development"]
    assert after["calibration"]["targets"] == 48
    calibrate(["--model_path", str(trained), "--list", str(own), "--device", "cpu"])
    again = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))
    assert again["threshold"] == after["threshold"]

    predictor = MVectorPredictor(model_path=trained)
    assert predictor.threshold == after["threshold"]
    assert predictor.calibration.as_dict() == after["calibration"]
    with pytest.raises(MVectorError, match="cannot be shown by 448 non-target trials"):
        calibrate(["--model_path", str(trained), "--list", str(own), "--device", "cpu", "--target_far", "0.001"])
    assert json.loads((trained / "metrics.json").read_text(encoding="utf-8")) == again


def test_a_threshold_for_normalised_scores_is_used_for_them(trained, capsys, tmp_path, corpus):
    own = tmp_path / "own.txt"
    own.write_text("".join(Path(corpus[name]).read_text(encoding="utf-8") for name in ("dev", "test")), "utf-8")
    calibrate(["--model_path", str(trained), "--list", str(own), "--device", "cpu", "--score", "as-norm"])
    stored = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))["as_norm"]
    text = run(capsys, "--model_path", trained, "--score", "as-norm")
    assert f"at the stored threshold {stored['threshold']:.4f}: FRR" in text
    assert results(trained)["calibration"] == stored["calibration"]
    assert "stored threshold" not in run(capsys, "--model_path", trained, "--score", "as-norm", "--top_n", "3")


def test_calibration_reads_packed_embeddings_and_what_it_shares_with_the_test_is_told(
    trained, capsys, tmp_path, corpus
):
    for name in ("dev", "test"):
        extract(["--model_path", str(trained), "--list", corpus[name], "--output", str(tmp_path / name)])
    own = tmp_path / "own.txt"
    own.write_text("".join(Path(corpus[name]).read_text(encoding="utf-8") for name in ("dev", "test")), "utf-8")
    extract(["--model_path", str(trained), "--list", str(own), "--output", str(tmp_path / "both")])
    words = ["--model_path", str(trained), "--list", str(own), "--device", "cpu"]
    calibrate(words)
    heard = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))
    calibrate([*words, "--embeddings", str(tmp_path / "both")])
    read = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))
    assert read["threshold"] == pytest.approx(heard["threshold"], abs=1e-5)

    other = ["--calibration_list", corpus["dev"], "--calibration_embeddings", tmp_path / "dev"]
    assert "are too good" not in run(capsys, "--model_path", trained, *other)
    calibrated = results(trained)["calibration"]
    run(capsys, "--model_path", trained, "--calibration_list", corpus["dev"])
    assert results(trained)["calibration"]["scale"] == pytest.approx(calibrated["scale"], rel=1e-3)
    same = ["--calibration_list", corpus["test"], "--calibration_embeddings", tmp_path / "test"]
    assert "The calibration knows speakers or recordings of the test" in run(capsys, "--model_path", trained, *same)
    assert results(trained)["leakage_of_calibration"] == {"speakers": 4, "recordings": 16}


def test_scores_in_bins_come_with_the_bound_of_their_error(trained, capsys, monkeypatch):
    import mvector.scoring.trial_scores as module

    for function in (module.score_trials, module.score_vectors):
        monkeypatch.setattr(function, "__defaults__", tuple(50 if value == module.EXACT_SCORES else value
                                                            for value in function.__defaults__))  # fmt: skip
    text = run(capsys, "--model_path", trained)
    assert 0 <= results(trained)["error_bound"] <= 1e-5
    assert f"are counted in bins: error rates and costs are exact to {results(trained)['error_bound']:.1e}" in text


def test_enrolled_voices_against_a_list_are_identified_too(trained, corpus, tmp_path, capsys):
    """Two of four speakers are enrolled with two recordings each; the other recordings are tested against them."""
    rows = read_data_list(corpus["test"])
    people = sorted({row.speaker for row in rows})[:2]
    enrolled = [row for name in people for row in [r for r in rows if r.speaker == name][:2]]
    tested = [row for row in rows if row not in enrolled]
    paths = {}
    for name, chosen in (("enroll", enrolled), ("tested", tested)):
        paths[name] = tmp_path / f"{name}.txt"
        paths[name].write_text("".join(f"{row.path}\t{row.speaker}\n" for row in chosen), encoding="utf-8")
    saved = tmp_path / "found.json"
    lists = [
        "--set",
        f"dataset_conf.enroll_list={paths['enroll']}",
        "--set",
        f"dataset_conf.trials_list={paths['tested']}",
    ]
    evaluate(["--model_path", str(trained), "--device", "cpu", "--save_json", str(saved), *lists])
    found = json.loads(saved.read_text(encoding="utf-8"))["identification"]
    assert (found["people"], found["probes"], found["strangers"]) == (2, 4, 8)
    assert "top-1 " in (text := capsys.readouterr().out)
    assert "DIR at FAR 1 % not measurable: needs 3,000 recordings of others" in text

    model = load_model(trained)
    config = model.config
    vectors = {
        row.path: embed_utterances(model.embedder, config, [row], "").embeddings[0].astype(float) for row in rows
    }
    unit = {path: vector / np.linalg.norm(vector) for path, vector in vectors.items()}
    hits = []
    for probe in tested:
        scores = [(float(unit[probe.path] @ unit[row.path]), row.speaker) for row in enrolled]
        if probe.speaker in people:
            hits.append(max(scores)[1] == probe.speaker)
    assert found["top"]["1"] == np.mean(hits)
