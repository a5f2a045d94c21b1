"""Every registered loss trains, stops, and goes on bit for bit, its own parameters and margin included."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mvector.config import load_config
from mvector.errors import ConfigError
from mvector.model_directory import load_model
from mvector.registry import LOSSES
from mvector.trainer import Interrupted, MVectorTrainer
from mvector.training.run import TrainingRun
from mvector.training.tracking import read_records

NETWORK = """
import torch
from torch import nn
class Net(nn.Module):
    min_frames = 1
    def __init__(self, input_size, embd_dim=8):
        super().__init__()
        self.embd_dim = embd_dim
        self.layers = nn.Sequential(nn.Linear(input_size, 16), nn.ReLU(), nn.Linear(16, embd_dim))
    def forward(self, features):
        return self.layers(features).mean(dim=1)
"""
NAMES = LOSSES.names()
CHANGED = {"SubCenterLoss": {"k_top": 2}}  # the arguments with which a loss has all its parts


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


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small(settings, tmp_path, monkeypatch):
    """settings_for(loss name): a small network, P×K batches of 3 × 2 where the loss wants them, a moving margin."""
    (tmp_path / "small_net.py").write_text(NETWORK, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))

    def settings_for(name: str) -> dict:
        cls = LOSSES.get(name)
        loss = cls(**CHANGED.get(name, {}))
        settings["model_conf"] = {
            "model": "small_net.Net",
            "classifier": {
                "classifier_type": "Cosine" if getattr(cls, "needs_cosines", False) else "Linear",
                "K": getattr(loss, "K", 1),
            },
        }
        settings["dataset_conf"] |= {
            "is_use_pksampler": getattr(cls, "needs_pk_batches", False),
            "sample_per_id": 2,
        }
        settings["loss_conf"] = {
            "loss": name,
            "loss_args": CHANGED.get(name, {}),
            "use_margin_scheduler": hasattr(loss, "margin"),
            "margin_scheduler_args": {"initial_margin": 0.1, "final_margin": 0.2, "increase_start_epoch": 0,
                                      "fix_epoch": 1},
        }  # fmt: skip
        settings["train_conf"] |= {"max_epoch": 1, "log_interval": 1}
        settings["augmentation"] = None
        return settings

    return settings_for


def train(settings: dict, folder: Path, **arguments) -> TrainingRun:
    trainer = MVectorTrainer(load_config(settings), device="cpu")
    return trainer.train(save_model_path=folder / "models", log_dir=folder / "log", **{"do_eval": False, **arguments})


def records(folder: Path) -> list[dict]:
    found = read_records(folder / "log" / "Net_Fbank" / "metrics.jsonl")
    measured = ("utterances_per_s", "data_stall_percent", "memory_gib")
    return [{key: value for key, value in record.items() if key not in measured} for record in found]


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_and_goes_on_as_if_it_had_never_stopped(name, small, tmp_path, monkeypatch):
    settings = small(name)
    unbroken = train(settings, tmp_path / "unbroken")
    monkeypatch.setattr("mvector.trainer.StopRequest", lambda: StopAfter(3))
    with pytest.raises(Interrupted):
        train(settings, tmp_path / "broken")
    monkeypatch.setattr("mvector.trainer.StopRequest", lambda: StopAfter(10**9))
    resumed = train(settings, tmp_path / "broken")

    assert unbroken.step == resumed.step == 6
    for one, other in ((unbroken.network, resumed.network), (unbroken.loss, resumed.loss)):
        assert one.state_dict().keys() == other.state_dict().keys()
        for key, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key
    assert getattr(unbroken.loss, "margin", None) == getattr(resumed.loss, "margin", None)
    assert records(tmp_path / "broken") == records(tmp_path / "unbroken")
    assert all(0 <= record["accuracy"] <= 1 for record in records(tmp_path / "broken"))
    # What a loss learns itself has been learned.
    start = LOSSES.build(name, CHANGED.get(name))
    for key, parameter in resumed.loss.named_parameters():
        assert not torch.equal(parameter, dict(start.named_parameters())[key]), key


@pytest.mark.parametrize("name", ["GE2ELoss", "PrototypicalLoss"])
def test_what_compares_within_the_batch_has_no_classifier(name, small, tmp_path):
    settings = small(name)
    run = train(settings, tmp_path, do_eval=True)
    assert run.classifier is None
    best = tmp_path / "models" / "Net_Fbank" / "best_model"
    assert not (best / "classifier.safetensors").exists()
    assert load_model(best).threshold is not None
    state = torch.load(best.parent / "last_model" / "training_state.pt", weights_only=True)
    assert set(state["loss"]) == {"w", "b"}
    # Such a model is a fine start for another loss, and another model for such a loss.
    other = small("AMLoss")
    train(other, tmp_path / "am", pretrained_model=best)
    train(small(name), tmp_path / "again", pretrained_model=tmp_path / "am" / "models" / "Net_Fbank" / "best_model")


def test_triplets_are_drawn_from_pk_batches_by_themselves(small, tmp_path):
    settings = small("TripletAngularMarginLoss")
    settings["dataset_conf"]["is_use_pksampler"] = False  # as in the files of mvector 1.1
    run = train(settings, tmp_path)
    for batch in run.batches:
        labels = [run.dataset.recordings.label(draw.utterance) for draw in batch]
        assert sorted(np.bincount(labels, minlength=6).tolist()) == [0, 0, 0, 2, 2, 2]
    stored = json.loads((tmp_path / "models/Net_Fbank/best_model/metrics.json").read_text(encoding="utf-8"))
    assert stored["step"] == 6


def test_sub_centres_count_as_their_speaker(small, tmp_path):
    run = train(small("SubCenterLoss"), tmp_path)
    with torch.no_grad():
        run.classifier.weight.normal_()
        embeddings = torch.cat([3 * run.classifier.weight, -run.classifier.weight])  # [36, 8]
        labels = torch.arange(6).repeat_interleave(3).repeat(2)
        _, right = run.loss_and_right_answers(embeddings, labels)
        cosines = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(run.classifier.weight).T
    best = [row.index(max(row)) for row in cosines.tolist()]  # of 18 centres, three a speaker
    assert right.item() == sum(centre // 3 == label for centre, label in zip(best, labels.tolist(), strict=True))
    assert 18 <= right < 36


def test_fine_tuning_takes_all_centres_of_a_speaker(small, tmp_path):
    settings = small("SubCenterLoss")
    first = train(settings, tmp_path / "first")
    listing = Path(settings["dataset_conf"]["train_list"]).read_text(encoding="utf-8").splitlines()
    kept = tmp_path / "kept.txt"
    kept.write_text("".join(f"{line}\n" for line in listing if not line.endswith("\ttrain-0")), encoding="utf-8")
    settings["dataset_conf"]["train_list"] = kept.as_posix()  # every class number moves by one
    settings["optimizer_conf"] = {"optimizer": "SGD", "optimizer_args": {"lr": 1e-12}, "scheduler": "StepLR",
                                  "scheduler_args": {"step_size": 1}}  # fmt: skip
    best = tmp_path / "first" / "models" / "Net_Fbank" / "best_model"
    tuned = train(settings, tmp_path / "tuned", pretrained_model=best)
    assert tuned.speakers == first.speakers[1:]
    torch.testing.assert_close(tuned.classifier.weight, first.classifier.weight[3:], atol=1e-6, rtol=0)
    # Another number of centres cannot be carried over: the backbone is, the classifier starts anew.
    settings["loss_conf"]["loss_args"] = {"K": 2}
    settings["model_conf"]["classifier"]["K"] = 2
    other = train(settings, tmp_path / "other", pretrained_model=best)
    assert other.classifier.weight.shape == (10, 8)
    first_layer = first.embedder.backbone.layers[0].weight
    torch.testing.assert_close(other.embedder.backbone.layers[0].weight, first_layer, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "classifier", "message"),
    [
        ("AMLoss", {"classifier_type": "Linear"}, "needs cosines: set .*classifier_type to Cosine"),
        ("SphereFace2", {"classifier_type": "Linear"}, "needs cosines"),
        ("CircleLoss", {"K": 2}, "CircleLoss takes 1 .* set K to 1"),
        ("GE2ELoss", {"K": 2}, "set K to 1"),
    ],
)
def test_losses_and_classifiers_that_do_not_fit_are_refused(name, classifier, message, small, tmp_path):
    settings = small(name)
    settings["model_conf"]["classifier"] |= classifier
    with pytest.raises(ConfigError, match=message):
        train(settings, tmp_path)


def test_a_loss_without_margin_has_no_margin_schedule(small, tmp_path):
    settings = small("GE2ELoss")
    settings["loss_conf"]["use_margin_scheduler"] = True
    with pytest.raises(ConfigError, match="GE2ELoss has no margin to schedule"):
        train(settings, tmp_path)


def test_speeds_as_classes_are_warned_of_where_utterances_are_compared(small, tmp_path, caplog):
    settings = small("GE2ELoss")
    settings["augmentation"] = {"speed": {"prob": 1.0, "speed_perturb_3_class": True}}
    run = train(settings, tmp_path)
    assert run.step == 6
    assert sum("speed_perturb_3_class to False" in message for message in caplog.messages) == 1
