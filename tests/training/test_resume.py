"""A run that is stopped or killed goes on and ends with the weights that the unbroken run ends with, bit for bit."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from mvector.config import load_config
from mvector.data.lists import Utterance
from mvector.errors import ModelError, MVectorError
from mvector.model_directory import recover, replace_directory
from mvector.trainer import Interrupted, MVectorTrainer
from mvector.training.run_state import data_digest
from mvector.training.tracking import read_records


def run(settings: dict, folder: Path, **arguments) -> None:
    trainer = MVectorTrainer(load_config(settings), device="cpu")
    trainer.train(save_model_path=folder / "models", log_dir=folder / "log", **arguments)


def weights(folder: Path, name: str = "last_model", model: str = "EcapaTdnn_Fbank") -> bytes:
    return (folder / "models" / model / name / "model.safetensors").read_bytes()


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("steps", [1, 6, 9])  # inside the first epoch, at its end, inside the second
def test_stopped_and_resumed_equals_unbroken(settings, tmp_path, stop_after, steps):
    run(settings, tmp_path / "unbroken")
    stop_after(steps)
    with pytest.raises(Interrupted):
        run(settings, tmp_path / "broken")
    stop_after(float("inf"))
    run(settings, tmp_path / "broken")  # no --resume_model: the unfinished run is found
    assert weights(tmp_path / "broken") == weights(tmp_path / "unbroken")
    assert weights(tmp_path / "broken", "best_model") == weights(tmp_path / "unbroken", "best_model")

    def scalars(folder: Path) -> list[dict]:
        records = read_records(folder / "log" / "EcapaTdnn_Fbank" / "metrics.jsonl")
        measured = ("utterances_per_s", "data_stall_percent", "memory_gib")
        return [{k: round(v, 5) for k, v in r.items() if k not in measured} for r in records]

    assert scalars(tmp_path / "broken") == scalars(tmp_path / "unbroken")


def test_the_scale_of_float16_is_gone_on_with(settings, tmp_path, stop_after, monkeypatch):
    """The scaler begins so high that the first steps overflow, are left out and halve the scale, and counts the good
    steps until the scale doubles again: a resumed run that began with either anew would leave out other steps."""
    scaler = torch.amp.GradScaler
    monkeypatch.setattr(
        torch.amp,
        "GradScaler",
        lambda device, enabled: scaler(device, init_scale=2.0**13, growth_interval=2, enabled=enabled),
    )
    settings["train_conf"] |= {"enable_amp": True, "amp_dtype": "float16", "max_epoch": 2}
    run(settings, tmp_path / "unbroken")
    stop_after(8)
    with pytest.raises(Interrupted) as stop:
        run(settings, tmp_path / "broken")
    stop_after(float("inf"))
    at_stop = torch.load(stop.value.folder / "training_state.pt", weights_only=True)["scaler"]
    assert at_stop["scale"] < 2.0**13  # else there would be nothing to restore
    run(settings, tmp_path / "broken")
    assert weights(tmp_path / "broken") == weights(tmp_path / "unbroken")
    states = [
        torch.load(tmp_path / name / "models/EcapaTdnn_Fbank/last_model/training_state.pt", weights_only=True)
        for name in ("broken", "unbroken")
    ]
    assert states[0]["scaler"] == states[1]["scaler"]


def test_an_evaluation_that_is_done_again_is_recorded_once(settings, tmp_path, monkeypatch):
    """Killed between an evaluation's line in metrics.jsonl and the checkpoint after it."""

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("mvector.training.run.TrainingRun.save_best", die)
        with pytest.raises(Killed):
            run(settings, tmp_path)
    run(settings, tmp_path)
    records = read_records(tmp_path / "log" / "EcapaTdnn_Fbank" / "metrics.jsonl")
    assert [record["epoch"] for record in records if "eer" in record] == [1, 2, 3]


def test_the_number_of_workers_does_not_matter(settings, tmp_path):
    run(settings, tmp_path / "none")
    settings["dataset_conf"]["dataLoader"]["num_workers"] = 2
    run(settings, tmp_path / "two")
    assert weights(tmp_path / "none") == weights(tmp_path / "two")


DROPOUT_NET = """
import torch
from torch import nn
class Net(nn.Module):
    min_frames = 1
    def __init__(self, input_size, embd_dim=8):
        super().__init__()
        self.embd_dim = embd_dim
        self.layers = nn.Sequential(nn.Linear(input_size, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, embd_dim))
    def forward(self, features):
        return self.layers(features).mean(dim=1)
"""


def test_dropout_draws_the_same_after_a_stop_and_with_any_number_of_workers(
    settings, tmp_path, monkeypatch, stop_after
):
    (tmp_path / "dropout_net.py").write_text(DROPOUT_NET, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings["model_conf"] = {"model": "dropout_net.Net"}
    run(settings, tmp_path / "unbroken")
    unbroken = weights(tmp_path / "unbroken", model="Net_Fbank")
    settings["dataset_conf"]["dataLoader"]["num_workers"] = 1
    run(settings, tmp_path / "worker")
    assert weights(tmp_path / "worker", model="Net_Fbank") == unbroken
    settings["dataset_conf"]["dataLoader"]["num_workers"] = 0
    stop_after(8)
    with pytest.raises(Interrupted):
        run(settings, tmp_path / "broken")
    stop_after(float("inf"))
    run(settings, tmp_path / "broken")
    assert weights(tmp_path / "broken", model="Net_Fbank") == unbroken


def test_without_evaluation_a_stop_loses_nothing(settings, tmp_path, stop_after):
    run(settings, tmp_path / "unbroken", do_eval=False)
    stop_after(9)
    with pytest.raises(Interrupted):
        run(settings, tmp_path / "broken", do_eval=False)
    stop_after(float("inf"))
    run(settings, tmp_path / "broken", do_eval=False)
    assert weights(tmp_path / "broken", "best_model") == weights(tmp_path / "unbroken", "best_model")
    assert weights(tmp_path / "broken", "best_model") == weights(tmp_path / "broken")


def test_resuming_without_evaluation_keeps_the_best_model_and_its_figures(settings, tmp_path, stop_after):
    stop_after(9)
    with pytest.raises(Interrupted):
        run(settings, tmp_path)
    best = weights(tmp_path, "best_model")
    stop_after(float("inf"))
    run(settings, tmp_path, do_eval=False)
    assert weights(tmp_path, "best_model") == best


def test_going_on_elsewhere_takes_the_best_model_along_and_overwrites_nothing(settings, tmp_path, stop_after):
    run(settings, tmp_path / "elsewhere", do_eval=False)  # another run stands where the resumed one is to go
    kept = weights(tmp_path / "elsewhere")
    stop_after(9)
    with pytest.raises(Interrupted) as stop:
        run(settings, tmp_path / "here")
    stop_after(float("inf"))
    run(settings, tmp_path / "elsewhere", resume_model=stop.value.folder)
    assert (tmp_path / "elsewhere/models/EcapaTdnn_Fbank.previous-1/last_model/model.safetensors").read_bytes() == kept
    assert weights(tmp_path / "elsewhere", "best_model")


def test_resuming_with_other_settings_says_which(settings, tmp_path, caplog, stop_after):
    stop_after(2)
    with pytest.raises(Interrupted) as stop:
        run(settings, tmp_path)
    stop_after(float("inf"))
    settings["train_conf"]["clip_grad_norm"] = 5.0
    run(settings, tmp_path, resume_model=stop.value.folder)
    assert "train_conf.clip_grad_norm=5.0" in caplog.text


def test_another_pretrained_model_is_another_run(settings, tmp_path, stop_after):
    run(settings, tmp_path / "base")
    base = tmp_path / "base" / "models" / "EcapaTdnn_Fbank" / "best_model"
    stop_after(2)
    with pytest.raises(Interrupted):
        run(settings, tmp_path)
    stop_after(float("inf"))
    with pytest.raises(ModelError, match="nowhere"):
        run(settings, tmp_path, pretrained_model=tmp_path / "nowhere")
    run(settings, tmp_path, pretrained_model=base)
    assert (tmp_path / "models" / "EcapaTdnn_Fbank.previous-1").is_dir()


def test_a_failed_start_moves_nothing_aside(settings, tmp_path):
    run(settings, tmp_path)
    settings["train_conf"]["seed"] = 9
    settings["dataset_conf"]["sampler"]["batch_size"] = 10**6
    with pytest.raises(MVectorError):
        run(settings, tmp_path)
    assert [path.name for path in (tmp_path / "log").iterdir()] == ["EcapaTdnn_Fbank"]
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["EcapaTdnn_Fbank"]


def test_the_printed_resume_command_repeats_the_arguments(tmp_path):
    from mvector.cli.train import resume_arguments

    argv = [
        "--configs",
        "my config.yml",
        "--set",
        "a.b=1",
        "--resume_model",
        "old",
        "--pretrained_model=x",
        "--device",
        "cpu",
    ]
    if os.name != "nt":
        printed = resume_arguments(argv, Path("models/last"))
        assert printed == "--configs 'my config.yml' --set a.b=1 --device cpu --resume_model models/last"


def test_another_seed_gives_other_weights(settings, tmp_path):
    settings["train_conf"]["max_epoch"] = 1
    run(settings, tmp_path / "one")
    settings["train_conf"]["seed"] = 8
    run(settings, tmp_path / "other")
    assert weights(tmp_path / "one") != weights(tmp_path / "other")


@pytest.mark.slow
@pytest.mark.skipif(
    os.name == "nt", reason="Windows has no SIGINT for one child process; needs the system package pywin32"
)
def test_ctrl_c_saves_and_says_how_to_go_on(settings, tmp_path):
    settings["train_conf"]["max_epoch"] = 500
    settings["dataset_conf"]["dataLoader"]["num_workers"] = 1
    config = tmp_path / "config.yml"
    config.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    script = Path(__file__).parents[2] / "train.py"
    command = [sys.executable, str(script), "--configs", str(config), "--save_model_path", str(tmp_path / "models"),
               "--log_dir", str(tmp_path / "log"), "--device", "cpu"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path, text=True,
                               start_new_session=True, encoding="utf-8")  # fmt: skip
    log = tmp_path / "log" / "EcapaTdnn_Fbank" / "train.log"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not (log.exists() and "epoch 2" in log.read_text(encoding="utf-8")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the trainer and to its workers
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    last = tmp_path / "models" / "EcapaTdnn_Fbank" / "last_model"
    assert f"--resume_model {last}" in output
    assert "Traceback" not in output
    assert (last / "training_state.pt").is_file()


def test_resuming_what_cannot_be_resumed_is_refused(settings, tmp_path):
    settings["train_conf"]["max_epoch"] = 1
    run(settings, tmp_path)
    folder = tmp_path / "models" / "EcapaTdnn_Fbank"
    with pytest.raises(ModelError, match="pretrained_model"):
        run(settings, tmp_path / "new", resume_model=folder / "best_model")
    with pytest.raises(ModelError, match="no training_state"):
        run(settings, tmp_path / "new", resume_model=tmp_path / "nowhere")
    state = folder / "last_model" / "training_state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be read"):
        run(settings, tmp_path / "new", resume_model=folder / "last_model")


def test_resuming_with_other_speakers_is_refused(settings, tmp_path, stop_after):
    stop_after(2)
    with pytest.raises(Interrupted) as stop:
        run(settings, tmp_path)
    text = Path(settings["dataset_conf"]["train_list"]).read_text(encoding="utf-8")
    changed = tmp_path / "changed.txt"
    changed.write_text(text.replace("train-5", "somebody"), encoding="utf-8")
    settings["dataset_conf"]["train_list"] = changed.as_posix()
    # The recordings' folders are named after the speakers too: give them back their names.
    changed.write_text(changed.read_text(encoding="utf-8").replace("somebody/", "train-5/"), encoding="utf-8")
    with pytest.raises(ModelError, match="not the same"):
        run(settings, tmp_path, resume_model=stop.value.folder)


@pytest.fixture
def interrupted(settings, tmp_path, stop_after) -> Path:
    """The checkpoint of a run that was stopped in the middle of its first epoch; later runs are not stopped."""
    stop_after(2)
    with pytest.raises(Interrupted) as stop:
        run(settings, tmp_path)
    stop_after(float("inf"))
    return stop.value.folder


def test_resuming_with_other_rows_is_refused(settings, tmp_path, interrupted):
    """The number of rows and the speakers stay as they are."""
    text = Path(settings["dataset_conf"]["train_list"]).read_text(encoding="utf-8")
    settings["dataset_conf"]["train_list"] = (tmp_path / "changed.txt").as_posix()
    for change in ("order", "recording", "speaker", "start"):
        rows = [line.split("\t") for line in text.splitlines()]
        if change == "order":
            rows[3], rows[20] = rows[20], rows[3]
        elif change == "recording":
            rows[3][0] = rows[4][0]
        elif change == "speaker":
            rows[3][1] = rows[20][1]
        else:
            rows[3].append("0.1")
        (tmp_path / "changed.txt").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
        with pytest.raises(ModelError, match=r"another list: .* Restore the list"):
            run(settings, tmp_path, resume_model=interrupted)


def test_resuming_with_another_seed_is_refused(settings, tmp_path, interrupted):
    settings["train_conf"]["seed"] = 8
    with pytest.raises(ModelError, match=r"train_conf\.seed 7, now it is 8.* Set it to 7"):
        run(settings, tmp_path, resume_model=interrupted)


def test_a_moved_data_folder_is_gone_on_with(settings, tmp_path, corpus, interrupted):
    moved = shutil.copytree(corpus["folder"], tmp_path / "moved to here")
    text = Path(corpus["train"]).read_text(encoding="utf-8")
    (moved / "train.txt").write_text(text.replace(corpus["folder"], moved.as_posix()), encoding="utf-8")
    run(settings, tmp_path / "unmoved")
    settings["dataset_conf"]["train_list"] = (moved / "train.txt").as_posix()
    run(settings, tmp_path, resume_model=interrupted)
    assert weights(tmp_path) == weights(tmp_path / "unmoved")


def test_a_state_of_a_version_before_rows_and_seed_were_noted_is_accepted(settings, tmp_path, interrupted):
    state = torch.load(interrupted / "training_state.pt", weights_only=True)
    assert len(state.pop("data_digest")) == 32
    assert state.pop("seed") == 7
    torch.save(state, interrupted / "training_state.pt")
    settings["train_conf"] |= {"seed": 8, "max_epoch": 1}
    run(settings, tmp_path, resume_model=interrupted)


@pytest.mark.parametrize("cut_after", ["part", "new", "old moved"])
def test_a_directory_is_never_half_replaced(tmp_path, monkeypatch, cut_after):
    """Cut off after any of its renames, what is found afterwards is the old or the new folder, whole."""
    target = tmp_path / "last_model"
    replace_directory(target, lambda folder: (folder / "file").write_text("old", encoding="utf-8"))
    real, calls = os.replace, []

    def replace(source, destination):
        if len(calls) == {"part": 0, "new": 1, "old moved": 2}[cut_after]:
            raise KeyboardInterrupt
        calls.append(source)
        real(source, destination)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        replace_directory(target, lambda folder: (folder / "file").write_text("new", encoding="utf-8"))
    monkeypatch.setattr(os, "replace", real)
    recover(target)
    expected = "old" if cut_after == "part" else "new"
    assert (target / "file").read_text(encoding="utf-8") == expected


@pytest.mark.parametrize(
    "moved",
    [["/new/a/1.wav", "/new/b/2.wav"], ["a/1.wav", "b/2.wav"], ["C:\\x\\a\\1.wav", "C:\\x\\b\\2.wav"]],
    ids=["absolute", "relative", "Windows"],
)
def test_rows_are_the_same_wherever_their_folder_is(moved):
    def digest(paths: list[str]) -> str:
        return data_digest([Utterance(path, "s") for path in paths])

    assert digest(moved) == digest(["/data/a/1.wav", "/data/b/2.wav"])
    assert digest(moved) != digest(moved[::-1])
    assert digest(moved) != digest([moved[0], moved[1].replace("b", "c")])
    assert digest([moved[0]] * 2) == digest(["1.wav"] * 2)  # parts of one recording
