"""The training run: what it writes, what it learns, and what it does about a user's mistakes."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from mvector.config import load_config
from mvector.data.lists import read_data_list
from mvector.data.trials import load_trials
from mvector.errors import ConfigError, DataListError, ModelError, MVectorError
from mvector.evaluation import evaluate_trials
from mvector.model_directory import load_model
from mvector.models.ecapa_tdnn import EcapaTdnn
from mvector.trainer import MVectorTrainer
from mvector.training.run import TrainingRun
from mvector.training.tracking import read_records


def train(settings: dict, folder: Path, **arguments) -> tuple[TrainingRun, dict]:
    trainer = MVectorTrainer(load_config(settings), device="cpu")
    run = trainer.train(save_model_path=folder / "models", log_dir=folder / "log", **arguments)
    return run, run.best_metrics or run.last_metrics


def test_a_run_writes_what_is_promised(settings, pictures, tmp_path):
    _, metrics = train(settings, tmp_path)
    models, log = tmp_path / "models" / "EcapaTdnn_Fbank", tmp_path / "log" / "EcapaTdnn_Fbank"
    for name in ("best_model", "last_model"):
        for file in ("model.safetensors", "config.yml", "metrics.json", "speakers.txt", "classifier.safetensors"):
            assert (models / name / file).stat().st_size > 0, f"{name}/{file}"
    assert (models / "last_model" / "training_state.pt").is_file()
    assert not (models / "best_model" / "training_state.pt").exists()
    stored = json.loads((models / "best_model" / "metrics.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(metrics))
    # Independent count: 4 speakers × 4 utterances give 4 · 6 target pairs of 16 · 15 / 2.
    assert stored["development"]["target_trials"] == 24
    assert stored["development"]["non_target_trials"] == 96
    assert 0 <= stored["eer"] <= 1
    assert "synthetic" not in stored
    speakers = (models / "best_model" / "speakers.txt").read_text(encoding="utf-8").splitlines()
    assert speakers == [f"train-{n}" for n in range(6)]
    records = read_records(log / "metrics.jsonl")
    assert [r["epoch"] for r in records if "eer" in r] == [1, 2, 3]
    assert {"loss", "accuracy", "learning_rate", "margin", "utterances_per_s"} <= records[0].keys()
    assert (log / "curves.png").read_bytes().startswith(b"\x89PNG")
    text = (log / "train.log").read_text(encoding="utf-8")
    assert "parameters" in text
    assert "train_conf.max_epoch=3" in text
    assert "EER" in text
    state = torch.load(models / "last_model" / "training_state.pt", weights_only=True)
    assert state["epoch"] == 3


def test_the_stored_model_gives_the_stored_figures(settings, tmp_path):
    _, metrics = train(settings, tmp_path)
    model = load_model(tmp_path / "models" / "EcapaTdnn_Fbank" / "best_model")
    trials = load_trials(trials_list=settings["dataset_conf"]["dev_trials_list"])
    result, _ = evaluate_trials(model.embedder, model.config, trials)
    assert result.eer == pytest.approx(metrics["eer"], abs=1e-12)
    assert result.threshold == pytest.approx(metrics["threshold"], abs=1e-6)
    assert model.threshold == metrics["threshold"]


def test_it_learns_and_does_not_learn_from_shuffled_labels(settings, tmp_path):
    settings["train_conf"]["max_epoch"] = 12
    settings["optimizer_conf"]["optimizer_args"]["lr"] = 0.002
    settings["augmentation"] = None
    settings["loss_conf"]["loss_args"]["margin"] = 0.0
    settings["loss_conf"]["use_margin_scheduler"] = False
    run, _ = train(settings, tmp_path)
    records = read_records(run.folder.parents[1] / "log" / run.folder.name / "metrics.jsonl")
    accuracy = [record["accuracy"] for record in records if "accuracy" in record]
    # 36 recordings, six speakers: one epoch's figure wavers by some of them with the rounding of the machine.
    assert np.mean(accuracy[-len(accuracy) // 3 :]) > 0.8
    rows = read_data_list(settings["dataset_conf"]["train_list"])
    speakers = [row.speaker for row in rows]
    np.random.default_rng(3).shuffle(speakers)
    shuffled = tmp_path / "shuffled.txt"
    shuffled.write_text("".join(f"{r.path}\t{s}\n" for r, s in zip(rows, speakers, strict=True)), encoding="utf-8")
    settings["dataset_conf"]["train_list"] = shuffled.as_posix()
    run, _ = train(settings, tmp_path / "shuffled")
    records = read_records(run.folder.parents[1] / "log" / run.folder.name / "metrics.jsonl")
    wrong = [record["accuracy"] for record in records if "accuracy" in record]
    # The few recordings can be learned by heart in the end, but far more slowly than six real voices.
    assert np.mean(wrong) < 0.75 * np.mean(accuracy)


def test_broken_recordings_are_skipped_counted_and_named(settings, tmp_path, corpus):
    lines = Path(corpus["train"]).read_text(encoding="utf-8").splitlines()
    broken, silent, short = tmp_path / "broken.wav", tmp_path / "静音.wav", tmp_path / "short.wav"
    broken.write_bytes(b"this is no sound")
    soundfile.write(silent, np.zeros(16000, np.float32), 16000)
    soundfile.write(short, 0.1 * np.ones(800, np.float32), 16000)
    bad = [broken, silent, short, tmp_path / "missing.wav"]
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join(lines + [f"{path.as_posix()}\ttrain-0" for path in bad]) + "\n", encoding="utf-8")
    settings["dataset_conf"]["train_list"] = listing.as_posix()
    settings["dataset_conf"]["sampler"] = {"batch_size": 8}  # 40 utterances: every one is drawn in each epoch
    run, _ = train(settings, tmp_path)
    assert set(run.skipped) == {path.as_posix() for path in bad}
    report = (run.folder / "skipped.tsv").read_text(encoding="utf-8")
    assert "静音" in report
    assert "silent" in report


@pytest.mark.parametrize("same", [False, True], ids=["no development list", "the same list twice"])
def test_the_test_list_chooses_the_epoch_only_where_that_is_allowed_and_the_model_says_so(
    settings, tmp_path, caplog, same
):
    data = settings["dataset_conf"]
    if same:
        data["dev_trials_list"] = str(Path(data["trials_list"]).parent / "." / Path(data["trials_list"]).name)
    else:
        del data["dev_trials_list"]
    with pytest.raises(ConfigError, match=r"no development list apart from the test list .*choose_on_test_list=True"):
        train(settings, tmp_path)
    settings["train_conf"]["choose_on_test_list"] = True
    caplog.set_level(logging.WARNING, "mvector")
    _, metrics = train(settings, tmp_path)
    assert metrics["development"]["is_the_configured_test_list"] is True
    assert sum("are not test results" in message for message in caplog.messages) == 1


def test_without_any_list_the_last_epoch_is_the_model(settings, tmp_path):
    del settings["dataset_conf"]["dev_trials_list"], settings["dataset_conf"]["trials_list"]
    _, metrics = train(settings, tmp_path)
    assert "threshold" not in metrics
    model = load_model(tmp_path / "models" / "EcapaTdnn_Fbank" / "best_model")
    assert model.threshold is None
    assert model.metrics["epoch"] == 3


def test_a_finished_run_is_kept_when_a_new_one_starts(settings, tmp_path):
    settings["train_conf"]["max_epoch"] = 1
    train(settings, tmp_path)
    weights = (tmp_path / "models" / "EcapaTdnn_Fbank" / "best_model" / "model.safetensors").read_bytes()
    settings["train_conf"]["seed"] = 8
    train(settings, tmp_path)
    kept = tmp_path / "models" / "EcapaTdnn_Fbank.previous-1" / "best_model" / "model.safetensors"
    assert kept.read_bytes() == weights


def test_fine_tuning_matches_speakers_by_name(settings, tmp_path):
    train(settings, tmp_path)
    base = tmp_path / "models" / "EcapaTdnn_Fbank" / "best_model"
    rows = read_data_list(settings["dataset_conf"]["train_list"])
    kept = [row for row in rows if row.speaker != "train-0"]  # every class number moves by one
    renamed = tmp_path / "new.txt"
    lines = [f"{row.path}\t{row.speaker}\n" for row in kept] + [f"{row.path}\tzz-new\n" for row in rows[:6]]
    renamed.write_text("".join(lines), encoding="utf-8")
    settings["dataset_conf"]["train_list"] = renamed.as_posix()
    settings["optimizer_conf"] = {"optimizer": "SGD", "optimizer_args": {"lr": 1e-12}, "scheduler": "StepLR",
                                  "scheduler_args": {"step_size": 1}}  # fmt: skip
    settings["train_conf"]["max_epoch"] = 1
    run, _ = train(settings, tmp_path / "tuned", pretrained_model=base)
    from safetensors.torch import load_file

    old = load_file(base / "classifier.safetensors")["weight"]
    new = run.classifier.state_dict()["weight"]
    assert run.speakers == [*(f"train-{n}" for n in range(1, 6)), "zz-new"]
    torch.testing.assert_close(new[:5], old[1:6], atol=1e-6, rtol=0)
    assert not torch.allclose(new[5], old[0], atol=1e-3)


def test_pretrained_weights_of_another_shape_are_refused(settings, tmp_path):
    settings["train_conf"]["max_epoch"] = 1
    train(settings, tmp_path)
    settings["model_conf"]["model_args"]["embd_dim"] = 20
    with pytest.raises(ModelError, match="shape"):
        train(settings, tmp_path / "other", pretrained_model=tmp_path / "models" / "EcapaTdnn_Fbank" / "best_model")


def test_bfloat16_autocast_trains_and_stores_float32(settings, tmp_path, monkeypatch):
    settings["train_conf"] |= {"enable_amp": True, "max_epoch": 1}
    seen = set()
    forward = EcapaTdnn.forward
    monkeypatch.setattr(EcapaTdnn, "forward", lambda self, x: _noted(forward(self, x), self.training, seen))
    run, _ = train(settings, tmp_path)
    assert seen == {(True, torch.bfloat16), (False, torch.float32)}
    assert all(value.dtype != torch.bfloat16 for value in run.embedder.state_dict().values())


def _noted(embeddings: torch.Tensor, training: bool, seen: set) -> torch.Tensor:
    seen.add((training, embeddings.dtype))
    return embeddings


def test_features_and_masks_of_the_whole_batch_give_the_same_run(settings, tmp_path, monkeypatch):
    """What an accelerator does (features in the training process, batched), here on the CPU."""
    settings["train_conf"]["max_epoch"] = 1
    workers, _ = train(settings, tmp_path / "workers")
    monkeypatch.setattr("mvector.training.run.features_in_workers", lambda device: False)
    batched, _ = train(settings, tmp_path / "batched")
    assert workers.features_in_workers
    assert not batched.features_in_workers
    for (name, one), other in zip(
        workers.network.state_dict().items(), batched.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("amp_dtype", [None, "bfloat16", "float16"])
def test_training_on_a_gpu(settings, tmp_path, amp_dtype):
    settings["train_conf"] |= {"enable_amp": amp_dtype is not None, "amp_dtype": amp_dtype or "bfloat16"}
    trainer = MVectorTrainer(load_config(settings), device="cuda")
    run = trainer.train(save_model_path=tmp_path / "models", log_dir=tmp_path / "log")
    model = load_model(run.folder / "best_model")  # on the CPU
    result, _ = evaluate_trials(model.embedder, model.config, run.development.trials)
    assert result.eer == pytest.approx(run.best_metrics["eer"], abs=0.05)


def test_a_users_own_feature_and_network(settings, tmp_path, monkeypatch):
    (tmp_path / "own_parts.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Energy(nn.Module):\n"
        "    feature_size, sample_rate_hz, min_samples = 4, 16000, 400\n"
        "    def forward(self, waveforms, lengths=None):\n"
        "        frames = waveforms.unfold(1, 400, 160).unflatten(2, (4, 100))\n"
        "        frames = frames.square().mean(3).add(1e-6).log()\n"
        "        return frames, torch.full((len(waveforms),), frames.shape[1])\n"
        "class Net(nn.Module):\n"
        "    min_frames = 3\n"
        "    def __init__(self, input_size, embd_dim=8):\n"
        "        super().__init__()\n"
        "        self.embd_dim, self.linear = embd_dim, nn.Linear(input_size, embd_dim)\n"
        "    def forward(self, features):\n"
        "        return self.linear(features).mean(1)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    settings["preprocess_conf"] = {"feature_method": "own_parts.Energy"}
    settings["model_conf"] = {"model": "own_parts.Net"}
    settings["train_conf"]["max_epoch"] = 1
    run, metrics = train(settings, tmp_path)
    assert 0 <= metrics["eer"] <= 1
    assert run.embedder.min_samples == 400 + 2 * 160


@pytest.mark.parametrize("workers", [0, 1])
def test_a_list_of_broken_recordings_is_one_sentence_from_any_process(settings, tmp_path, workers):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    listing = tmp_path / "list.txt"
    listing.write_text("".join(f"{broken.as_posix()}\ts{n % 2}\n" for n in range(8)), encoding="utf-8")
    settings["dataset_conf"] |= {"train_list": listing.as_posix(), "dataLoader": {"num_workers": workers}}
    with pytest.raises(DataListError, match="cannot be used") as error:
        train(settings, tmp_path)
    assert "Traceback" not in str(error.value)


def test_a_broken_noise_recording_costs_no_utterance(settings, tmp_path):
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "bad.wav").write_bytes(b"no sound")
    settings["augmentation"] = {"noise": {"prob": 1.0, "noise_dir": (tmp_path / "noise").as_posix()}}
    settings["train_conf"]["max_epoch"] = 1
    run, _ = train(settings, tmp_path)
    assert all("bad.wav" in key for key in run.skipped)
    assert len(run.skipped) == 1
    assert "used without it" in (run.folder / "skipped.tsv").read_text(encoding="utf-8")


def test_losses_and_classifiers_that_do_not_fit_are_refused(settings, tmp_path):
    settings["model_conf"]["classifier"] = {"classifier_type": "Linear"}
    with pytest.raises(ConfigError, match="needs cosines"):
        train(settings, tmp_path)
    settings["model_conf"]["classifier"] = {"K": 3}
    with pytest.raises(ConfigError, match="set K to 1"):
        train(settings, tmp_path)


def test_a_number_of_processes_without_torchrun_is_refused(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="torchrun"):
        train(settings, tmp_path)
    assert not (tmp_path / "models").exists()


def test_without_evaluation_no_test_list_is_needed(settings, tmp_path):
    settings["dataset_conf"] |= {"dev_trials_list": "missing.txt", "trials_list": "missing.txt"}
    settings["train_conf"]["max_epoch"] = 1
    _, metrics = train(settings, tmp_path, do_eval=False)
    assert "threshold" not in metrics


def test_evaluate_uses_the_models_own_level_and_rate(settings, tmp_path):
    settings["train_conf"]["max_epoch"] = 1
    run, _ = train(settings, tmp_path)
    expected = MVectorTrainer(load_config(settings), device="cpu").evaluate(run.folder / "best_model")
    settings["dataset_conf"]["dataset"] |= {"use_dB_normalization": False}
    settings["preprocess_conf"]["method_args"]["num_mel_bins"] = 30
    assert MVectorTrainer(load_config(settings), device="cpu").evaluate(run.folder / "best_model") == expected


def test_arguments_of_the_older_package(config_file, settings):
    trainer = MVectorTrainer(configs=config_file, use_gpu=False, overwrites="train_conf.max_epoch=5,train_conf.seed=3",
                             log_level="warning")  # fmt: skip
    assert (trainer.config.train_conf.max_epoch, trainer.config.train_conf.seed) == (5, 3)
    logging.getLogger("mvector").setLevel(logging.NOTSET)
    with pytest.raises(ConfigError, match="load_config"):
        MVectorTrainer(load_config(settings), overwrites=["train_conf.seed=3"])


def test_cross_entropy_with_a_linear_classifier_and_torch_schedulers(settings, tmp_path):
    settings["loss_conf"] = {"loss": "CELoss"}
    settings["model_conf"]["classifier"] = {"classifier_type": "Linear"}
    settings["optimizer_conf"] = {"optimizer": "SGD", "optimizer_args": {"lr": 0.1, "momentum": 0.9},
                                  "scheduler": "ReduceLROnPlateau"}  # fmt: skip
    run, _ = train(settings, tmp_path)
    assert isinstance(run.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
    settings["optimizer_conf"] |= {"scheduler": "OneCycleLR", "scheduler_args": {"max_lr": 0.1}}
    run, _ = train(settings, tmp_path / "cycle")
    assert run.scheduler.total_steps == 18


def test_pk_batches(settings, tmp_path):
    settings["dataset_conf"] |= {"is_use_pksampler": True, "sample_per_id": 3}
    run, _ = train(settings, tmp_path)
    batch = next(iter(run.batches))
    labels = [run.dataset.recordings.label(draw.utterance) for draw in batch]
    assert sorted(np.bincount(labels, minlength=6).tolist()) == [0, 0, 0, 0, 3, 3]


def test_mistakes_get_a_sentence(settings, tmp_path):
    with pytest.raises(ConfigError, match="use_gpu is True") if not torch.cuda.is_available() else _nothing():
        MVectorTrainer(load_config(settings), use_gpu=True)
    settings["dataset_conf"]["sampler"]["batch_size"] = 1000
    with pytest.raises(DataListError, match="fewer than one batch"):
        train(settings, tmp_path)
    settings["dataset_conf"]["sampler"]["batch_size"] = 6
    settings["dataset_conf"]["train_list"] = None
    with pytest.raises(ConfigError, match="train_list is not set"):
        train(settings, tmp_path)


def _nothing():
    import contextlib

    return contextlib.nullcontext()


def test_a_diverging_run_stops_with_advice(settings, tmp_path):
    settings["optimizer_conf"] = {"optimizer": "SGD", "optimizer_args": {"lr": 1e30}, "scheduler": "StepLR",
                                  "scheduler_args": {"step_size": 1}}  # fmt: skip
    settings["train_conf"] |= {"log_interval": 1000, "save_every_minutes": 1e-9}
    with pytest.raises(MVectorError, match="learning rate"):
        train(settings, tmp_path)
    weights = tmp_path / "models" / "EcapaTdnn_Fbank" / "last_model" / "model.safetensors"
    if weights.exists():  # what was saved before must be good
        from safetensors.torch import load_file

        assert all(torch.isfinite(value).all() for value in load_file(weights).values() if value.is_floating_point())


def test_configurations_of_the_older_package_name_their_speakers_wrongly_and_still_train(settings, tmp_path, caplog):
    caplog.set_level(logging.INFO, "mvector")
    settings["model_conf"]["classifier"] = {"num_speakers": 2796, "num_blocks": 0}
    settings["train_conf"]["max_epoch"] = 1
    _, metrics = train(settings, tmp_path)
    assert metrics["training_speakers"] == 6
    assert any("says 2796, the list has 6" in message for message in caplog.messages)
    stored = yaml.safe_load((tmp_path / "models/EcapaTdnn_Fbank/best_model/config.yml").read_text(encoding="utf-8"))
    assert stored["model_conf"]["classifier"]["num_speakers"] == 6
