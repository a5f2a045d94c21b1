"""`infer_recognition.py` as a person runs it: by file and by menu, what it prints and how it ends."""

import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

import mvector.audio.microphone
from mvector.cli import main as mvector_command
from mvector.cli import run
from mvector.cli.recognition import main, meter_bar
from mvector.errors import MicrophoneError, StoreError
from mvector.predict import MVectorPredictor

ROOT = Path(__file__).parents[2]
RATE = 16000


@pytest.fixture
def sounds(tmp_path, make_voice) -> dict[str, str]:
    made = {"a1": make_voice(3.0), "a2": make_voice(3.0, seed=1), "b": make_voice(3.0, 11000), "zeros": np.zeros(RATE)}
    for name, sound in made.items():
        soundfile.write(tmp_path / f"{name}.wav", sound, RATE)
    (tmp_path / "text.wav").write_text("hello", encoding="utf-8")
    return {name: str(tmp_path / f"{name}.wav") for name in (*made, "text", "absent")}


@pytest.fixture
def command(make_model, tmp_path):
    """command(*arguments) runs it with a model of threshold 0.9 and a store of the test's own."""
    model = make_model({"threshold": 0.9})

    def call(*arguments: str) -> None:
        main(["--model_path", str(model), "--audio_db_path", str(tmp_path / "db"), "--device", "cpu", *arguments])

    call.folders = ["--model_path", str(model), "--audio_db_path", str(tmp_path / "db"), "--device", "cpu"]
    return call


def test_enroll_recognise_list_remove_by_file(command, sounds, capsys):
    command("--enroll", "张三", sounds["a1"], sounds["a2"])
    assert capsys.readouterr().out.splitlines() == [
        f"{sounds['a1']}: 张三 is enrolled (recordings: 1)",
        f"{sounds['a2']}: 张三 is enrolled (recordings: 2)",
    ]
    command("--enroll", "bob", sounds["b"])
    capsys.readouterr()
    command("--list")
    assert capsys.readouterr().out.splitlines() == [
        "bob (recordings: 1)",
        "张三 (recordings: 2)",
        "people enrolled: 2",
    ]
    command("--recognise", sounds["b"], sounds["a1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith("  ")] == [f"{sounds['b']}: bob", f"{sounds['a1']}: 张三"]
    assert lines[1].startswith("  score 1.0000 (cosine), threshold 0.9000, 0.")
    assert lines[1].endswith("more than the next person")
    command("--recognize", sounds["zeros"], "--threshold=-1")
    assert capsys.readouterr().out.splitlines() == [
        f"{sounds['zeros']}: nobody was recognised",
        f"  {sounds['zeros']}: digital silence, every sample is zero; check the microphone and record again",
    ]
    command("--remove", "bob")
    assert capsys.readouterr().out == "bob is deleted\n"
    command("--recognise", sounds["b"], "--threshold", "0.9999")
    assert "nobody was recognised\n" in capsys.readouterr().out


def test_one_bad_recording_does_not_stop_the_others(command, sounds, capsys):
    with pytest.raises(SystemExit) as ended:
        command("--enroll", "anna", sounds["zeros"], sounds["text"], sounds["a1"], sounds["absent"])
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == f"{sounds['a1']}: anna is enrolled (recordings: 1)\n"
    errors = printed.err.splitlines()
    assert len(errors) == 3
    for line, name in zip(errors, ("zeros", "text", "absent"), strict=True):
        assert line.startswith(f"error: {sounds[name]}: ")
    with pytest.raises(SystemExit):
        command("--recognise", sounds["text"], sounds["a1"])
    assert f"{sounds['a1']}: anna\n" in capsys.readouterr().out


def test_recordings_are_kept_unless_it_is_told_otherwise(command, sounds, tmp_path, capsys):
    kept = tmp_path / "db" / "voices.recordings"
    command("--keep_audio", "False", "--enroll", "anna", sounds["a1"])
    assert not kept.exists()
    command("--enroll", "anna", sounds["a2"])
    assert len(list(kept.iterdir())) == 1
    command("--keep_audio", "--enroll", "bob", sounds["b"])  # as the service has it
    assert len(list(kept.iterdir())) == 2
    command("--list")
    assert "people enrolled: 2" in capsys.readouterr().out


def test_the_index_is_chosen(command, sounds, capsys):
    command("--enroll", "anna", sounds["a1"])
    capsys.readouterr()
    command("--recognise", sounds["a1"], "--index", "ivf")
    assert capsys.readouterr().out.startswith(f"{sounds['a1']}: anna\n")
    with pytest.raises(SystemExit):
        command("--list", "--index", "annoy")
    assert "'annoy'" in capsys.readouterr().err
    with pytest.raises(StoreError, match="there is no index named 'hnsw'"):  # PostgreSQL has it
        command("--list", "--index", "hnsw")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--enroll", "anna"], "at least one sound file"),
        (["--remove", "nobody"], "nobody is enrolled as 'nobody'"),
        (["--record_seconds", "0"], "above 0"),
        (["--record_seconds", "1000"], "at most 300"),
        (["--list", "--threshold", "60"], "from -1 to 1"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(command, capsys, arguments, expected):
    with pytest.raises(SystemExit) as ended:
        run(lambda _: command(*arguments))
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert expected in line


def test_a_calibrated_model_gives_a_probability_and_synthetic_voices_are_told(make_model, sounds, tmp_path, capsys):
    calibration = {"scale": 9.0, "offset": -2.5, "prior": 0.5, "targets": 10, "non_targets": 40}
    statement = "Trained on synthetic voices: not for real decisions."
    model = make_model({"threshold": 0.5, "calibration": calibration, "synthetic": statement})
    base = ["--model_path", str(model), "--audio_db_path", str(tmp_path / "db")]
    main([*base, "--enroll", "anna", sounds["a1"]])
    capsys.readouterr()
    main([*base, "--recognise", sounds["a1"]])
    lines = capsys.readouterr().out.splitlines()
    assert f"  probability {100 / (1 + np.exp(-6.5)):.2f} % (if somebody enrolled speaks every second time)" in lines
    assert lines[0] == statement


# ---------------------------------------------------------------- the menu


class FakeMicrophone:
    """Gives one sound after another; an exception among them is raised."""

    def __init__(self, sounds):
        self.sounds, self.rate_hz, self.seconds = list(sounds), RATE, []
        self.device = types.SimpleNamespace(name="Headset")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def record(self, seconds, meter):
        self.seconds.append(seconds)
        for elapsed_s in (0.05, 0.1):
            meter(-20.0, elapsed_s)
        sound = self.sounds.pop(0)
        if isinstance(sound, Exception):
            raise sound
        return sound


@pytest.fixture
def menu(command, monkeypatch, capsys):
    """menu(answers, sounds, *arguments) -> what is printed, and the microphone."""

    def call(answers: list[str], given: list, *arguments: str):
        microphone, typed = FakeMicrophone(given), iter(answers)

        def answer(prompt: str) -> str:
            print(prompt, end="")
            try:
                return next(typed)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr("builtins.input", answer)
        monkeypatch.setattr(mvector.audio.microphone, "Microphone", lambda device: microphone)
        command(*arguments)
        assert not microphone.sounds
        printed = capsys.readouterr()
        return printed.out, printed.err, microphone

    return call


def test_the_menu_enrolls_recognises_and_deletes(menu, voice, make_voice):
    out, err, microphone = menu(
        ["0", "anna", "", "1", "", "2", "anna", "1", "", "q"], [voice, make_voice(3.0, seed=1), voice]
    )
    assert "microphone: Headset, 16000 Hz" in out
    assert "0 enroll, 1 recognise, 2 delete" in out
    assert "Press Enter to record 3 seconds: speak now\nrecorded\nanna is enrolled (recordings: 1)\n" in out
    assert "recorded\nanna\n  score 0.99" in out
    assert "anna is deleted\n" in out
    assert "nobody was recognised\n  nobody is enrolled yet\n" in out
    assert (err, microphone.seconds) == ("", [3.0, 3.0, 3.0])


def test_the_menu_goes_on_after_mistakes_and_ends_with_the_input(menu, voice):
    out, err, microphone = menu(
        ["7", "0", "anna", "", "0", "", "", "2", "carl", "1", "", "0", "anna", ""],
        [np.zeros(RATE, np.float32), voice, MicrophoneError("the microphone 'Headset' gives no sound."), voice],
        "--record_seconds",
        "1.5",
    )
    assert "Type 0, 1, 2 or q." in out
    assert "Press Enter to record 1.5 seconds" in out
    errors = err.splitlines()
    assert len(errors) == 4
    for line, expected in zip(errors, ("digital silence", "name", "'carl'", "gives no sound"), strict=True):
        assert expected in line
    assert out.endswith("delete, q quit: ")
    assert "anna is enrolled (recordings: 1)" in out
    assert microphone.seconds == [1.5] * 4


def test_the_level_meter():
    empty, full = meter_bar(-120.0), meter_bar(0.0)
    assert (set(empty[1:-1]), set(full[1:-1])) == ({"-"}, {"#"})
    assert meter_bar(-30.0).count("#") == full.count("#") / 2
    assert len({len(meter_bar(level)) for level in (-300.0, -31.7, 3.0)}) == 1


@pytest.mark.parametrize("arguments", [[], ["--list_devices"]])
def test_without_pyaudio_it_is_a_sentence_and_status_2(arguments, tmp_path):
    (tmp_path / "pyaudio.py").write_text("raise ImportError('no PortAudio')", encoding="utf-8")
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from mvector.cli import run; "
    code += "from mvector.cli.recognition import main; run(main)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), *arguments],
        capture_output=True, encoding="utf-8", cwd=ROOT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "PyAudio, which cannot be imported (no PortAudio): pip install pyaudio" in line
    assert done.stdout == ""


# ---------------------------------------------------------------- as programs


def test_the_script_at_the_root_and_the_subcommand(command, sounds, capsys):
    done = subprocess.run(
        [sys.executable, str(ROOT / "infer_recognition.py"), *command.folders, "--enroll", "anna", sounds["a1"]],
        capture_output=True, encoding="utf-8", cwd=ROOT,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "anna is enrolled (recordings: 1)" in done.stdout
    mvector_command(["recognition", *command.folders, "--list"])
    assert "anna (recordings: 1)" in capsys.readouterr().out


def test_in_chinese(command, sounds, capsys, monkeypatch):
    monkeypatch.setenv("LANGUAGE", "zh")
    command("--enroll", "张三", sounds["a1"])
    command("--recognise", sounds["b"], "--threshold", "0.9999")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("张三 已注册（录音数：1）")
    assert lines[1].endswith("没有识别出任何人")
    assert lines[2] == f"  {sounds['b']}：与任何已注册的人不够相似"
    assert "阈值 0.9999" in lines[3]


def test_calibrating_as_norm_makes_it_decide(command, make_model, make_voice, tmp_path, capsys):
    """`mvector calibrate --score as-norm` stores the threshold and the cohort that recognition then goes by."""
    lines = []
    for person, rate in enumerate((9000, 11000, 13000, 16000, 19000)):
        for take in range(3):
            path = tmp_path / f"{person}_{take}.wav"
            soundfile.write(path, make_voice(1.5, rate + 100 * take, seed=take), RATE)
            lines.append(f"{path}\tp{person}\n")
    listed = tmp_path / "list.txt"
    listed.write_text("".join(lines), encoding="utf-8")
    model = make_model({"threshold": 0.9}, name="calibrated", dataset_conf={"train_list": str(listed)})
    mvector_command(["calibrate", "--model_path", str(model), "--list", str(listed), "--score", "as-norm", "--at_eer"])
    metrics = json.loads((model / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["threshold"] == 0.9  # the cosine's stays
    stored = metrics["as_norm"]
    assert (model / "cohort.safetensors").is_file()

    predictor = MVectorPredictor(model_path=model, audio_db_path=tmp_path / "own", device="cpu")
    predictor.register(tmp_path / "3_0.wav", "p3")
    answer = predictor.recognition(tmp_path / "3_1.wav")
    assert (answer.scoring, answer.threshold) == ("as-norm", pytest.approx(stored["threshold"]))
    assert answer.score == answer.normalised
    assert predictor.recognition(tmp_path / "3_1.wav", threshold=0.5).scoring == "cosine"
    predictor.store.close()
