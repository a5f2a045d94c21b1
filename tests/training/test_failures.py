"""What may go wrong in days of training, and what becomes of it: one sentence, and nothing lost."""

import errno
import logging
import os
from pathlib import Path

import pytest
import torch

import mvector.model_directory
from mvector.config import load_config
from mvector.errors import ConfigError, DataListError, ModelError, MVectorError
from mvector.trainer import MVectorTrainer
from mvector.training.advice import with_advice
from mvector.training.log_file import log_file
from mvector.training.run import TrainingRun
from mvector.training.tracking import read_records

LAST = "models/EcapaTdnn_Fbank/last_model"


def train(settings: dict, folder: Path, **arguments) -> TrainingRun | None:
    return MVectorTrainer(load_config(settings), device="cpu").train(folder / "models", folder / "log", **arguments)


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def torchs_words(*_, **__):
    raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")


@pytest.mark.slow
@pytest.mark.parametrize("full", [no_space, torchs_words])
@pytest.mark.parametrize("function", ["torch.save", "safetensors.torch.save_file"])
def test_a_full_disk_stops_the_run_and_leaves_the_last_checkpoint(settings, tmp_path, monkeypatch, function, full):
    settings["train_conf"]["save_every_minutes"] = 1e-9
    unbroken = train(settings, tmp_path / "unbroken")
    calls, real = [], torch.save if function == "torch.save" else __import__("safetensors.torch").torch.save_file

    def save(*arguments, **keywords):
        calls.append(arguments)
        return full() if len(calls) > 8 else real(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(function, save)
        with pytest.raises(MVectorError, match=r"cannot be written at epoch \d, batch \d .*last complete"):
            train(settings, tmp_path / "full")
    left = {path.name for path in (tmp_path / "full" / LAST).parent.iterdir()}
    assert left <= {"last_model", "best_model"}  # what was half written makes room again
    assert not any(name.endswith(".part") for name in left)
    again = train(settings, tmp_path / "full", resume_model="auto")
    one, other = (run.folder / "last_model" / "model.safetensors" for run in (unbroken, again))
    assert one.read_bytes() == other.read_bytes()


def test_a_folder_that_cannot_be_written_shows_before_the_first_step(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(mvector.model_directory, "save_model", no_space)
    monkeypatch.setattr("mvector.training.checkpoint.save_model", no_space)
    with pytest.raises(MVectorError, match=r"at epoch 1, batch 0 .*nothing was saved before"):
        train(settings, tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a system package of Linux")
def test_a_log_that_does_not_fit_on_the_disk_stops_nothing(tmp_path):
    (tmp_path / "train.log").symlink_to("/dev/full")
    with log_file() as open_log:
        open_log(tmp_path)
        logging.getLogger("mvector").info("lost")


def test_exhausted_memory_is_told_with_a_remedy():
    with pytest.raises(MVectorError, match=r"cpu is out of memory\. Lower dataset_conf\.sampler\.batch_size"):  # noqa: SIM117
        with with_advice(load_config({}), torch.device("cpu")):
            torch.empty(1 << 56, dtype=torch.uint8)


def test_figures_that_do_not_fit_on_the_disk_stop_nothing(settings, tmp_path, monkeypatch, caplog):
    settings["train_conf"]["max_epoch"] = 1
    real = open

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, text):
            no_space()

        def __getattr__(self, name):
            return getattr(self.file, name)

    def opened(path, *arguments, **keywords):
        file = real(path, *arguments, **keywords)
        return Full(file) if str(path).endswith("metrics.jsonl") and "a" in arguments else file

    monkeypatch.setattr("mvector.training.tracking.open", opened, raising=False)
    run = train(settings, tmp_path)
    assert run.finished
    assert "metrics.jsonl cannot be written" in caplog.text


@pytest.mark.slow
def test_a_vanished_list_is_named_and_the_run_goes_on_when_it_is_back(settings, tmp_path, stop_after):
    copy = tmp_path / "train.txt"
    copy.write_bytes(Path(settings["dataset_conf"]["train_list"]).read_bytes())
    settings["dataset_conf"]["train_list"] = copy.as_posix()
    stop_after(float("inf"))
    unbroken = train(settings, tmp_path / "unbroken")
    stop_after(8)
    with pytest.raises(Exception, match="stopped and saved"):
        train(settings, tmp_path)
    copy.rename(tmp_path / "away.txt")
    state = (tmp_path / LAST / "training_state.pt").read_bytes()
    with pytest.raises(DataListError, match=r"train\.txt"):
        train(settings, tmp_path, resume_model="auto")
    assert (tmp_path / LAST / "training_state.pt").read_bytes() == state
    (tmp_path / "away.txt").rename(copy)
    stop_after(float("inf"))
    run = train(settings, tmp_path, resume_model="auto")
    one, other = (r.folder / "last_model" / "model.safetensors" for r in (unbroken, run))
    assert one.read_bytes() == other.read_bytes()


def test_a_list_that_vanishes_meanwhile_is_not_needed_any_more(settings, tmp_path):
    copy = tmp_path / "train.txt"
    copy.write_bytes(Path(settings["dataset_conf"]["train_list"]).read_bytes())
    settings["dataset_conf"] |= {"train_list": copy.as_posix(), "dataLoader": {"num_workers": 1}}

    class Vanishing(MVectorTrainer):
        def end_epoch(self, run):
            copy.unlink(missing_ok=True)

    run = Vanishing(load_config(settings), device="cpu").train(tmp_path / "models", tmp_path / "log")
    assert run.finished


def test_a_loss_that_is_not_a_number_stops_the_run_and_the_last_good_state_stays(settings, tmp_path):
    class Poisoned(MVectorTrainer):
        def compute_loss(self, run, batch):
            loss, correct = super().compute_loss(run, batch)
            return (loss * float("nan") if run.step == 7 else loss), correct

    settings["train_conf"] |= {"save_every_minutes": 1e-9, "log_interval": 1000}
    with pytest.raises(MVectorError, match=r"the loss is nan and .* at step 8 \(epoch 2\).*The last good state is in"):
        Poisoned(load_config(settings), device="cpu").train(tmp_path / "models", tmp_path / "log")
    state = torch.load(tmp_path / LAST / "training_state.pt", weights_only=True)
    assert state["step"] == 7
    assert all(value.isfinite().all() for value in state["network"].values() if value.is_floating_point())
    run = train(settings, tmp_path, resume_model="auto")  # with the cause mended it goes on from there
    assert run.finished


def test_a_speaker_with_one_utterance_is_a_speaker_like_others(settings, tmp_path, corpus):
    lines = Path(corpus["train"]).read_text(encoding="utf-8").splitlines()
    single = [line for line in lines if not line.endswith("\ttrain-5")] + [lines[-1]]
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join(single) + "\n", encoding="utf-8")
    settings["dataset_conf"]["train_list"] = listing.as_posix()
    run = train(settings, tmp_path)
    assert run.speakers == [f"train-{number}" for number in range(6)]
    assert len(run.dataset) == 31
    assert all(value.isfinite().all() for value in run.network.parameters())


@pytest.mark.slow
def test_a_broken_file_in_the_middle_is_skipped_named_once_and_resumed_over(settings, tmp_path, corpus, stop_after):
    lines = Path(corpus["train"]).read_text(encoding="utf-8").splitlines()
    broken = tmp_path / "半 file.wav"
    whole = Path(lines[3].partition("\t")[0]).read_bytes()
    broken.write_bytes(whole[:30])  # cut off in its header
    lines.insert(len(lines) // 2, f"{broken.as_posix()}\ttrain-2")
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings["dataset_conf"] |= {"train_list": listing.as_posix(), "sampler": {"batch_size": 6, "drop_last": False}}
    stop_after(float("inf"))
    unbroken = train(settings, tmp_path / "unbroken")
    stop_after(9)
    with pytest.raises(Exception, match="stopped and saved"):
        train(settings, tmp_path)
    stop_after(float("inf"))
    run = train(settings, tmp_path, resume_model="auto")
    assert list(run.skipped) == [broken.as_posix()]
    assert (run.folder / "skipped.tsv").read_text(encoding="utf-8").count("\n") == 1
    one, other = (r.folder / "last_model" / "model.safetensors" for r in (unbroken, run))
    assert one.read_bytes() == other.read_bytes()


def test_auto_starts_anew_goes_on_and_ends(settings, tmp_path, stop_after, caplog):
    data = settings["dataset_conf"]
    train_list = tmp_path / "train_list.txt"
    train_list.write_bytes(Path(data["train_list"]).read_bytes())
    settings["dataset_conf"] = data | {"train_list": str(train_list)}
    stop_after(4)
    with pytest.raises(Exception, match="stopped and saved"):
        train(settings, tmp_path, resume_model="auto")
    settings["train_conf"]["clip_grad_norm"] = 50.0  # other settings are named, and are no reason to begin again
    stop_after(float("inf"))
    run = train(settings, tmp_path, resume_model="auto")
    assert "train_conf.clip_grad_norm=50.0" in caplog.text
    assert run.step == 18
    weights = (run.folder / "last_model" / "model.safetensors").read_bytes()
    train_list.unlink()  # a complete run needs nothing any more
    assert train(settings, tmp_path, resume_model="auto") is None
    assert (run.folder / "last_model" / "model.safetensors").read_bytes() == weights
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["EcapaTdnn_Fbank"]


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("dataset_conf", {"train_list": "other.txt"}),
        ("model_conf", {"model_args": {"embd_dim": 8}}),
        ("preprocess_conf", {"method_args": {"num_mel_bins": 20}}),
    ],
)
def test_auto_takes_no_other_run_for_this_one(settings, tmp_path, section, change):
    """Another list, network or feature: its end is not this run's, and nothing of it is touched."""
    settings["train_conf"]["max_epoch"] = 1
    train(settings, tmp_path, resume_model="auto")
    before = (tmp_path / LAST / "model.safetensors").read_bytes()
    arguments = settings["model_conf"]["model_args"]
    same = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    same_run = settings | {"model_conf": settings["model_conf"] | {"model_args": same}}
    assert train(same_run, tmp_path, resume_model="auto") is None
    other = settings | {section: settings[section] | change}
    with pytest.raises(ConfigError, match=rf"another {section}.*--save_model_path"):
        train(other, tmp_path, resume_model="auto")
    assert (tmp_path / LAST / "model.safetensors").read_bytes() == before
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["EcapaTdnn_Fbank"]


@pytest.mark.slow
def test_auto_with_more_epochs_goes_on_with_a_complete_run(settings, tmp_path):
    first = train(settings, tmp_path, resume_model="auto")
    settings["train_conf"]["max_epoch"] = 4
    run = train(settings, tmp_path, resume_model="auto")
    assert (first.step, run.step) == (18, 24)
    records = read_records(tmp_path / "log" / "EcapaTdnn_Fbank" / "metrics.jsonl")
    assert [record["epoch"] for record in records if "eer" in record] == [1, 2, 3, 4]


def test_auto_ignores_what_a_killed_run_left_half_written(settings, tmp_path):
    part = (tmp_path / LAST).with_name("last_model.part")
    part.mkdir(parents=True)
    (part / "model.safetensors").write_bytes(b"half")
    settings["train_conf"]["max_epoch"] = 1
    run = train(settings, tmp_path, resume_model="auto")
    assert run.finished
    assert not part.exists()
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["EcapaTdnn_Fbank"]
    part.mkdir()  # beside a whole one
    assert train(settings, tmp_path, resume_model="auto") is None


def test_auto_says_what_is_wrong_with_a_damaged_checkpoint(settings, tmp_path):
    settings["train_conf"]["max_epoch"] = 1
    train(settings, tmp_path)
    state = tmp_path / LAST / "training_state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be read"):
        train(settings, tmp_path, resume_model="auto")
