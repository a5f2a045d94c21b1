"""The tool from lists to a packed file."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.cli.extract_embeddings import _device, build_parser, main
from mvector.data.trials import load_trials
from mvector.embeddings import embed_utterances
from mvector.errors import ConfigError, DataListError
from mvector.fingerprint import model_fingerprint
from mvector.packed_embeddings import load_embeddings

TOOL = Path(__file__).parents[2] / "tools" / "extract_embeddings.py"


@pytest.fixture
def lists(tmp_path, make_voice) -> dict[str, str]:
    """A data list of six recordings, the last one silent, and a trial list over the first four and a seventh."""
    for number in range(7):
        sound = np.zeros(16000) if number == 5 else make_voice(0.8 + 0.1 * number, seed=number)
        soundfile.write(tmp_path / f"{number}.wav", sound, 16000)
    data, trials = tmp_path / "data.txt", tmp_path / "trials.txt"
    data.write_text("".join(f"{n}.wav\tspeaker {n % 3}\n" for n in range(6)), encoding="utf-8")
    trials.write_text("1 0.wav 3.wav\n0 0.wav 1.wav\n0 2.wav 6.wav\n", encoding="utf-8")
    return {"data": str(data), "trials": str(trials)}


def test_every_recording_of_the_lists_once(tiny_model_dir, lists, tmp_path, capsys):
    from mvector.model_directory import load_model

    arguments = ["--model_path", str(tiny_model_dir), "--device", "cpu", "--output", str(tmp_path / "out")]
    main([*arguments, "--list", lists["trials"], lists["data"], "--max_duration", "1.0"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"7 recordings embedded in {tmp_path / 'out'} (1 could not be)"
    assert "silent" in printed[1]
    assert printed[2].endswith("times real time")

    found = load_embeddings(tmp_path / "out")
    assert {Path(u.path).name: u.speaker for u in found.utterances} == {
        **{f"{n}.wav": f"speaker {n % 3}" for n in range(6)},
        "6.wav": "",  # the trial list alone has it, and names no speaker
    }
    model = load_model(tiny_model_dir, overrides=["dataset_conf.eval_conf.max_duration=1.0"])
    expected = embed_utterances(model.embedder, model.config, found.utterances)
    np.testing.assert_array_equal(found.embeddings, expected.embeddings)
    assert np.nanmax(found.duration_s) == 1.0
    found.require_model(model_fingerprint(model.path, model.config), 1.0)
    trials = load_trials(trials_list=lists["trials"])
    assert np.isfinite(found.select(trials.utterances).embeddings).all()

    main([*arguments, "--list", lists["trials"], lists["data"], "--max_duration", "1.0"])
    assert capsys.readouterr().out.splitlines() == printed[:2]  # nothing was to be done


def test_ranks_from_the_environment(tiny_model_dir, lists, tmp_path, monkeypatch, capsys):
    arguments = ["--model_path", str(tiny_model_dir), "--device", "cpu", "--list", lists["data"], "--output"]
    main([*arguments, str(tmp_path / "one")])
    capsys.readouterr()
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        main([*arguments, str(tmp_path / "two")])
        assert bool(capsys.readouterr().out) == (rank == "0")
    for name in ("embeddings.npy", "index.tsv", "meta.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_the_lists_of_the_models_own_configuration(make_model, lists, tmp_path):
    model = make_model(dataset_conf={"enroll_list": lists["data"], "trials_list": lists["trials"]})
    main(["--model_path", str(model), "--device", "cpu", "--output", str(tmp_path / "out")])
    found = load_embeddings(tmp_path / "out")
    assert sorted(Path(u.path).name for u in found.utterances) == ["0.wav", "1.wav", "2.wav", "3.wav", "6.wav"]


def test_an_enrollment_map_names_the_recordings(tiny_model_dir, lists, tmp_path):
    (tmp_path / "map.txt").write_text("anna 0.wav 3.wav\n", encoding="utf-8")
    (tmp_path / "mapped.txt").write_text("anna 1.wav nontarget\n", encoding="utf-8")
    main(["--model_path", str(tiny_model_dir), "--device", "cpu", "--list", str(tmp_path / "mapped.txt"),
          "--enroll_map", str(tmp_path / "map.txt"), "--output", str(tmp_path / "out")])  # fmt: skip
    assert sorted(Path(u.path).name for u in load_embeddings(tmp_path / "out").utterances) == [
        "0.wav",
        "1.wav",
        "3.wav",
    ]


def test_what_would_mix_models_is_refused(make_model, lists, tmp_path):
    arguments = ["--device", "cpu", "--list", lists["data"], "--output", str(tmp_path / "out"), "--model_path"]
    first, second = make_model(name="a"), make_model(name="b", seed=1)
    main([*arguments, str(first)])
    for other in (str(second),), (str(first), "--set", "dataset_conf.dataset.target_dB=-30"):
        with pytest.raises(DataListError, match="holds embeddings of another model"):
            main([*arguments, *other])
    with pytest.raises(ConfigError, match="batch_size"):
        main([*arguments, str(first), "--batch_size", "0"])


@pytest.mark.parametrize(
    ("asked", "local_rank", "expected"),
    [("auto", "0", "cuda:0"), ("auto", "3", "cuda:1"), ("cuda:0", "1", "cuda:0"), ("cpu", "1", "cpu")],
)
def test_each_process_takes_its_own_gpu(monkeypatch, asked, local_rank, expected):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert str(_device(build_parser().parse_args(["--output", "x", "--device", asked]))) == expected


def test_output_must_be_given(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args([])
    assert "--output" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_the_tool_killed_from_outside_goes_on(tiny_model_dir, tmp_path, make_voice):
    names = [f"{number}.wav" for number in range(200)]
    voice = make_voice(12.0)
    for number, name in enumerate(names):
        soundfile.write(tmp_path / name, voice[number * 100 : number * 100 + 160000], 16000)
    (tmp_path / "list.txt").write_text("".join(f"{name}\ts\n" for name in names), encoding="utf-8")
    command = [sys.executable, str(TOOL), "--model_path", str(tiny_model_dir), "--device", "cpu", "--list",
               str(tmp_path / "list.txt"), "--output"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    folder = tmp_path / "killed"
    process = subprocess.Popen([*command, str(folder)], env=environment, cwd=tmp_path)
    while process.poll() is None and not any(folder.glob("shards/*.npz")):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    done = len(list(folder.glob("shards/*.npz")))
    assert 0 < done < 50  # of 50 shards of four recordings
    subprocess.run([*command, str(folder)], env=environment, cwd=tmp_path, check=True)
    subprocess.run([*command, str(tmp_path / "whole")], env=environment, cwd=tmp_path, check=True)
    for name in ("embeddings.npy", "index.tsv", "meta.json"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_an_exported_model(tiny_model_dir, lists, tmp_path):
    pytest.importorskip("onnxruntime")
    from mvector.export.onnx_files import export_onnx
    from mvector.model_directory import load_model

    export_onnx(load_model(tiny_model_dir), tmp_path / "exported" / "model.onnx", with_features=True)
    arguments = ["--device", "cpu", "--list", lists["data"], "--output"]
    main([*arguments, str(tmp_path / "torch"), "--model_path", str(tiny_model_dir), "--max_duration", "1"])
    exported = [*arguments, str(tmp_path / "onnx"), "--model_path", str(tmp_path / "exported")]
    main([*exported, "--max_duration", "1"])
    ours, theirs = load_embeddings(tmp_path / "torch"), load_embeddings(tmp_path / "onnx")
    np.testing.assert_allclose(theirs.embeddings, ours.embeddings, rtol=1e-3, atol=1e-3 * np.nanmean(ours.magnitude))
    np.testing.assert_array_equal(theirs.duration_s, ours.duration_s)
    assert theirs.model_fingerprint != ours.model_fingerprint
    with pytest.raises(ConfigError, match="cannot be changed any more"):
        main([*exported, "--set", "dataset_conf.dataset.target_dB=-30"])
