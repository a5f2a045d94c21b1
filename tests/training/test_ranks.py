"""Several processes that train together: the same losses as one, and an end with a reason when one of them dies."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from mvector.config import load_config
from mvector.data.trials import load_trials
from mvector.errors import ConfigError
from mvector.evaluation import evaluate_trials
from mvector.losses import GE2ELoss
from mvector.model_directory import load_model
from mvector.trainer import Interrupted, MVectorTrainer
from mvector.training import ranks
from mvector.training.tracking import read_records
from tests.training.two_ranks import run_ranks

NAME = "TDNN_Fbank"
HANGS = 300  # seconds after which a test is taken to hang; two loaded cores need most of a minute to start
# train.py; a process says who it is, and process 1 may break at its third step when torchrun starts it first.
SCRIPT = """
import os
print(f"rank {os.environ['RANK']} is process {os.getpid()}", flush=True)
from mvector.cli import run
from mvector.cli.train import main
from mvector.trainer import MVectorTrainer
if "BREAK" in os.environ and os.environ["RANK"] + os.environ["TORCHELASTIC_RESTART_COUNT"] == "10":
    compute_loss = MVectorTrainer.compute_loss
    def broken(self, run, batch):
        if run.step == 2:
            raise ValueError("broken on purpose")
        return compute_loss(self, run, batch)
    MVectorTrainer.compute_loss = broken
run(main)
"""


@pytest.fixture
def settings(settings: dict) -> dict:
    """Two epochs in float32 with uneven shares in the last batches, for a network that rounding errors do not grow in
    (it has no square root of a variance near zero; in a tiny ECAPA-TDNN the float32 gradient of one process is off by
    3e-3), and an optimiser that does not make steps of them."""
    settings["train_conf"] |= {"max_epoch": 2, "log_interval": 1, "enable_amp": False, "sync_batch_norm": True}
    settings["dataset_conf"]["sampler"] = {"batch_size": 7, "drop_last": False}
    settings["model_conf"] = {
        "model": "TDNN",
        "model_args": {"channels": 16, "embd_dim": 16, "pooling_type": "TAP"},
    }
    settings["optimizer_conf"] = {
        "optimizer": "SGD",
        "optimizer_args": {"lr": 2e-4, "momentum": 0.9},
        "scheduler_args": {"warmup_epoch": 0},
    }
    return settings


def start(
    settings: dict,
    folder: Path,
    *arguments: str,
    processes: int = 2,
    script: str | None = None,
    restarts: int = 0,
    **env: str,
) -> subprocess.Popen:
    """`train.py` (or `script`) in several processes by torchrun, or in one without; it writes to folder/models,
    folder/log and folder/output.txt."""
    folder.mkdir(exist_ok=True)
    config, program = folder / "config.yml", Path(__file__).parents[2] / "train.py"
    config.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    if script is not None:
        program = folder / "script.py"
        program.write_text(script, encoding="utf-8")
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nnodes=1", f"--nproc_per_node={processes}"]
        launcher += [f"--max-restarts={restarts}"]
    command = [*launcher, str(program), "--configs", str(config), "--device", "cpu", "--save_model_path",
               str(folder / "models"), "--log_dir", str(folder / "log"), *arguments]  # fmt: skip
    with open(folder / "output.txt", "a", encoding="utf-8") as output:
        return subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **env},
            start_new_session=True,
        )


def output_of(folder: Path) -> str:
    return (folder / "output.txt").read_text(encoding="utf-8", errors="replace")


def finish(process: subprocess.Popen, folder: Path) -> None:
    assert process.wait(HANGS) == 0, output_of(folder)


def records(folder: Path) -> list[dict]:
    return read_records(folder / "log" / NAME / "metrics.jsonl")


def weights(folder: Path) -> bytes:
    return (folder / "models" / NAME / "last_model" / "model.safetensors").read_bytes()


def process_of_rank(number: int, folder: Path) -> int:
    return int(re.findall(rf"rank {number} is process (\d+)", output_of(folder))[-1])


def wait_for(text: str, folder: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + HANGS
    while text not in output_of(folder) and time.monotonic() < deadline:
        assert process.poll() is None, output_of(folder)
        time.sleep(0.1)
    assert text in output_of(folder)


def with_batches_of(size: int, settings: dict) -> dict:
    data = settings["dataset_conf"]
    return settings | {"dataset_conf": data | {"sampler": data["sampler"] | {"batch_size": size}}}


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(settings, tmp_path):
    settings["train_conf"]["accumulate_grad_batches"] = 2  # steps of two batches, and of one at an epoch's end
    one, two = tmp_path / "one", tmp_path / "two"
    finish(start(with_batches_of(14, settings), one, processes=1), one)
    finish(start(settings, two), two)
    assert len(records(one)) == len(records(two)) == 8  # three batches and an evaluation in each epoch
    for of_one, of_two in zip(records(one), records(two), strict=True):
        assert of_one.keys() == of_two.keys()
        assert of_one["step"] == of_two["step"]
        for name in {"loss", "gradient_norm", "accuracy", "margin", "learning_rate"} & of_one.keys():
            assert of_two[name] == pytest.approx(of_one[name], rel=1e-5, abs=1e-5), name
    # The verdict that the two found together is that of one process on their model.
    model = load_model(two / "models" / NAME / "best_model")
    trials = load_trials(None, settings["dataset_conf"]["dev_trials_list"], None, None)
    alone, _ = evaluate_trials(model.embedder, model.config, trials)
    assert (model.metrics["eer"], model.metrics["min_dcf"]) == pytest.approx((alone.eer, alone.min_dcf))
    assert model.metrics["threshold"] == pytest.approx(alone.threshold, abs=1e-6)
    text = output_of(two)
    assert text.count("Best model: epoch") == 1  # one process speaks for all
    assert text.count("epoch 2/2, batch 3/3") == 1
    assert sorted(path.name for path in (two / "models" / NAME).iterdir()) == ["best_model", "last_model"]


@pytest.mark.slow
def test_a_killed_process_ends_all_and_one_process_goes_on(settings, tmp_path):
    settings["train_conf"] |= {"max_epoch": 10**4, "save_every_minutes": 1e-3}
    process = start(settings, tmp_path, script=SCRIPT)
    wait_for("epoch 2/", tmp_path, process)
    os.kill(process_of_rank(1, tmp_path), signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
    assert process.wait(60) != 0
    text = output_of(tmp_path)
    assert "error: process 0 of 2: another process has ended and could not say why" in text
    with pytest.raises(OSError):  # nobody is left behind
        os.kill(process_of_rank(0, tmp_path), 0)
    state = torch.load(tmp_path / "models" / NAME / "last_model" / "training_state.pt", weights_only=True)
    settings["train_conf"]["max_epoch"] = state["epoch"] + 2
    finish(start(settings, tmp_path, "--resume_model", "auto", processes=1), tmp_path)
    assert "processes: 1 go on with what 2 did; a batch still holds 14 utterances in all" in output_of(tmp_path)
    settings["train_conf"]["max_epoch"] += 1
    finish(start(settings, tmp_path, "--resume_model", "auto", processes=1), tmp_path)  # and again
    steps = [record["step"] for record in records(tmp_path) if "eer" not in record]
    assert steps == list(range(1, 3 * (state["epoch"] + 3) + 1))


@pytest.mark.slow
def test_the_reason_of_a_broken_process_is_told_and_torchrun_restarts(settings, tmp_path):
    settings["train_conf"] |= {"save_every_minutes": 1e-6}
    finish(start(settings, tmp_path, "--resume_model", "auto", script=SCRIPT, restarts=1, BREAK="1"), tmp_path)
    text = output_of(tmp_path)
    assert re.search(r"error: process 1 of 2 \(on .+\) has ended: ValueError: broken on purpose", text)
    assert "going on at epoch 1, batch 2" in text
    assert [record["step"] for record in records(tmp_path)] == [1, 2, 3, 3, 4, 5, 6, 6]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM for one process; needs the system package pywin32")
def test_a_process_that_is_told_to_stop_stops_all_and_they_go_on_exactly(settings, tmp_path):
    """With batch norm of each process on its own, and a sharded classifier that samples speakers."""
    settings["train_conf"]["sync_batch_norm"] = False
    settings["model_conf"]["classifier"] = {"sharded": True, "sample_rate": 0.5}
    settings["train_conf"]["max_epoch"] = 8
    finish(start(settings, tmp_path / "unbroken"), tmp_path / "unbroken")
    process = start(settings, tmp_path / "broken", script=SCRIPT)
    wait_for("epoch 2/8", tmp_path / "broken", process)
    os.kill(process_of_rank(1, tmp_path / "broken"), signal.SIGTERM)
    assert process.wait(HANGS) != 0
    text = output_of(tmp_path / "broken")
    assert text.count("Training stopped; everything is saved in") == 1
    assert "torchrun --standalone --nnodes=1 --nproc_per_node=2 train.py" in text
    assert "Interrupted" not in text  # no traceback of ours
    assert text.count("(SIGTERM)") == 0  # nobody had to be ended
    finish(start(settings, tmp_path / "broken"), tmp_path / "broken")
    assert weights(tmp_path / "broken") == weights(tmp_path / "unbroken")
    classifiers = [(tmp_path / name / "models" / NAME / "last_model" / "classifier.safetensors").read_bytes()
                   for name in ("broken", "unbroken")]  # fmt: skip
    assert classifiers[0] == classifiers[1]
    from safetensors.torch import load

    assert {key: tuple(value.shape) for key, value in load(classifiers[0]).items()} == {"weight": (18, 16)}


# ---------------------------------------------------------------- one process


class StopAfter:
    """Stands in for StopRequest: asks to stop after `steps` steps."""

    def __init__(self, steps: int):
        self.left = steps

    def __enter__(self) -> "StopAfter":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def asked(self) -> bool:
        self.left -= 1
        return self.left == 0


def train(settings: dict, folder: Path) -> None:
    MVectorTrainer(load_config(settings), device="cpu").train(folder / "models", folder / "log")


@pytest.mark.parametrize("classifier", [{"sharded": True}, {"sample_rate": 0.5}], ids=["all speakers", "a sample"])
def test_a_sharded_classifier_resumes_exactly(settings, tmp_path, monkeypatch, classifier):
    settings["model_conf"]["classifier"] = classifier
    settings["optimizer_conf"]["optimizer"] = "AdamW"
    del settings["optimizer_conf"]["optimizer_args"]["momentum"]
    train(settings, tmp_path / "unbroken")
    monkeypatch.setattr("mvector.trainer.StopRequest", lambda: StopAfter(6))
    with pytest.raises(Interrupted):
        train(settings, tmp_path / "broken")
    monkeypatch.setattr("mvector.trainer.StopRequest", lambda: StopAfter(10**9))
    train(settings, tmp_path / "broken")
    assert weights(tmp_path / "broken") == weights(tmp_path / "unbroken")


def test_a_sharded_classifier_of_all_speakers_trains_as_the_ordinary_one(settings, tmp_path):
    settings = with_batches_of(14, settings)
    train(settings, tmp_path / "ordinary")
    settings["model_conf"]["classifier"] = {"sharded": True}
    train(settings, tmp_path / "sharded")
    for ordinary, sharded in zip(records(tmp_path / "ordinary"), records(tmp_path / "sharded"), strict=True):
        for name in {"loss", "gradient_norm", "accuracy", "eer"} & ordinary.keys():
            assert sharded[name] == pytest.approx(ordinary[name], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("loss_conf", {"loss": "CircleLoss", "loss_args": {}, "use_margin_scheduler": False}, "AAMLoss and AMLoss"),
        ("loss_conf", {"loss_args": {"label_smoothing": 0.1}}, "without label_smoothing"),
        ("model_conf", {"classifier": {"sharded": True, "num_blocks": 1}}, "num_blocks to 0"),
    ],
)
def test_what_cannot_be_sharded_is_refused(settings, tmp_path, section, values, message):
    settings["model_conf"]["classifier"] = {"sharded": True}
    settings[section] |= values
    with pytest.raises(ConfigError, match=message):
        train(settings, tmp_path)


def test_one_process_needs_nobody():
    rows = torch.randn(3, 2, requires_grad=True)
    assert (ranks.rank(), ranks.world_size(), ranks.is_first()) == (0, 1, True)
    assert ranks.gather_rows(rows) is rows
    assert ranks.gather(7) == [7]
    assert ranks.broadcast("x") == "x"
    assert ranks.total(4) == 4
    assert ranks.agreed(True, False) == [True, False]
    assert ranks.stack(rows).shape == (1, 3, 2)
    with ranks.joined(torch.device("cpu")):
        ranks.wait_for_all()
        assert not torch.distributed.is_initialized()
    parameter = torch.nn.Parameter(torch.ones(2))
    ranks.sum_gradients([parameter])
    assert parameter.grad is None


@pytest.mark.parametrize("items", [0, 1, 7, 64])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shares_are_even_and_whole(items, count):
    shares = [ranks.share(items, number, count) for number in range(count)]
    assert [item for own in shares for item in range(items)[own]] == list(range(items))
    sizes = {own.stop - own.start for own in shares}
    assert max(sizes) - min(sizes) <= 1


def test_each_process_gets_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert ranks.device_of_rank(torch.device("cuda", 1)) == torch.device("cuda", 1)  # one process
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert ranks.device_of_rank(torch.device("cuda")) == torch.device("cuda", 1)
    assert ranks.device_of_rank(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(ConfigError, match="--device cuda:0 names one GPU for 4 processes"):
        ranks.device_of_rank(torch.device("cuda", 0))
    with pytest.raises(ConfigError, match="not on mps"):
        ranks.device_of_rank(torch.device("mps"))
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match=r"process 2 of this machine .* PyTorch sees 2"):
        ranks.device_of_rank(torch.device("cuda"))


# ---------------------------------------------------------------- two processes without torchrun


def in_one_rank(number: int) -> dict:
    rows = torch.arange(6.0).reshape(3, 2)[: 2 + number] + 10 * number
    rows.requires_grad_()
    everybody = ranks.gather_rows(rows)
    (everybody * (number + 1) * torch.arange(5.0)[:, None]).sum().backward()
    dropped, used, frozen = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    (used * (number + 1)).sum().backward()
    if number == 1:
        (dropped * 5).sum().backward()
    ranks.sum_gradients([dropped, used, frozen])
    whole = ranks.gather_rows_to_first(rows)
    torch.manual_seed(0)
    embeddings, labels = torch.randn(12, 4), torch.arange(12) // 3
    own = ranks.share(12, number, 2)
    mine, loss = embeddings[own].clone().requires_grad_(), GE2ELoss()
    value = loss(None, ranks.gather_rows(labels[own]), ranks.gather_rows(mine))
    (value * 0.5).backward()
    ranks.sum_gradients(loss.parameters())
    copied = torch.full((2,), float(number))
    ranks.copy_from_first([copied])
    return {
        "rows": everybody.detach(),
        "gradient": rows.grad,
        "summed": (dropped.grad, used.grad, frozen.grad),
        "first": whole,
        "told": (ranks.broadcast(f"from {number}"), ranks.gather(number), ranks.total(number + 1)),
        "agreed": ranks.agreed(number == 1, False),
        "copied": copied,
        "ge2e": (value.detach(), ranks.gather_rows(mine.grad), [p.grad for p in loss.parameters()]),
    }


@pytest.mark.slow
def test_what_ranks_tell_each_other(tmp_path):
    first, second = run_ranks(in_one_rank, tmp_path)
    expected = torch.tensor([[0.0, 1], [2, 3], [10, 11], [12, 13], [14, 15]])
    assert torch.equal(first["rows"], expected)
    assert torch.equal(second["rows"], expected)
    # Row k is weighted with k by the first rank and 2 k by the second.
    assert torch.equal(torch.cat([first["gradient"], second["gradient"]])[:, 0], 3 * torch.arange(5.0))
    assert torch.equal(first["first"], expected)
    assert second["first"] is None
    for found in (first, second):
        assert torch.equal(found["summed"][0], torch.full((2,), 5.0))
        assert torch.equal(found["summed"][1], torch.full((2,), 3.0))
        assert found["summed"][2] is None
        assert found["told"] == ("from 0", [0, 1], 3)
        assert found["agreed"] == [True, False]
        assert torch.equal(found["copied"], torch.zeros(2))
    torch.manual_seed(0)
    embeddings, loss = torch.randn(12, 4).requires_grad_(), GE2ELoss()
    value = loss(None, torch.arange(12) // 3, embeddings)
    value.backward()
    for found in (first, second):  # a loss that compares within the batch: as on the joined batch
        torch.testing.assert_close(found["ge2e"][0], value.detach())
        torch.testing.assert_close(found["ge2e"][1], embeddings.grad)
        torch.testing.assert_close(found["ge2e"][2], [parameter.grad for parameter in loss.parameters()])
