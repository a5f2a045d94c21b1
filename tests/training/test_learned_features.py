"""Training on features that are themselves learned: self-supervised front ends, and a user's own network."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mvector.config import load_config
from mvector.data.trials import load_trials
from mvector.embedder import SpeakerEmbedder
from mvector.errors import ModelError
from mvector.evaluation import evaluate_trials
from mvector.model_directory import load_model
from mvector.predict import MVectorPredictor
from mvector.trainer import Interrupted, MVectorTrainer
from mvector.training.run import TrainingRun
from tests.tiny_front_ends import save_front_end

pytest.importorskip("transformers")
NAME = "EcapaTdnn_wavlm tiny"
WEIGHTS = "feature.layer_sum.weights"


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


@pytest.fixture
def source(tmp_path, settings) -> Path:
    """A front end's folder, and the settings that name it."""
    folder = tmp_path / "front ends" / "wavlm tiny"
    settings["preprocess_conf"] = {"use_hf_model": True, "feature_method": save_front_end(folder)}
    settings["train_conf"]["max_epoch"] = 1
    return folder


def train(settings: dict, folder: Path, **arguments) -> TrainingRun:
    trainer = MVectorTrainer(load_config(settings), device="cpu")
    return trainer.train(save_model_path=folder / "models", log_dir=folder / "log", **arguments)


def front_end(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "frontend.safetensors")


def network_of(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state.items() if key != WEIGHTS}


def test_frozen_only_the_weights_of_the_layers_are_learned(settings, source, tmp_path):
    run = train(settings, tmp_path, do_eval=False)
    assert run.folder.name == NAME
    assert not run.features_in_workers
    before = {f"feature.model.{key}": value for key, value in load_file(source / "model.safetensors").items()}
    for name in ("best_model", "last_model"):
        after = front_end(run.folder / name)
        assert after[WEIGHTS].abs().min() > 0
        kept = network_of(after)
        assert before.keys() - kept.keys() == {"feature.model.masked_spec_embed"}
        assert all(torch.equal(value, before[key]) for key, value in kept.items())
    state = torch.load(run.folder / "last_model" / "training_state.pt", weights_only=True)
    learned = [key for key in state["network"] if key.startswith("frontend.")]
    assert learned == ["frontend.weights"]  # a large network that never changes is not written twice
    metrics = json.loads((run.folder / "best_model" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["parameters"] == sum(parameter.numel() for parameter in run.embedder.parameters())


def test_fine_tuned_everything_is_learned(settings, source, tmp_path):
    settings["preprocess_conf"]["method_args"] = {"freeze": False}
    run = train(settings, tmp_path, do_eval=False)
    before = load_file(source / "model.safetensors")
    after = front_end(run.folder / "last_model")
    assert after[WEIGHTS].abs().min() > 0
    changed = {key for key, value in network_of(after).items() if not torch.equal(value, before[key[14:]])}
    assert changed == network_of(after).keys()
    assert all(value.isfinite().all() for value in after.values())


@pytest.mark.slow
@pytest.mark.parametrize(("freeze", "stop_after"), [(True, 4), (False, 9)])  # six batches are an epoch
def test_stopped_and_resumed_equals_unbroken(settings, source, tmp_path, monkeypatch, freeze, stop_after):
    settings["preprocess_conf"]["method_args"] = {"freeze": freeze}
    settings["train_conf"]["max_epoch"] = 2
    unbroken = train(settings, tmp_path / "unbroken", do_eval=False).folder
    monkeypatch.setattr("mvector.trainer.StopRequest", lambda: StopAfter(stop_after))
    with pytest.raises(Interrupted):
        train(settings, tmp_path / "broken", do_eval=False)
    monkeypatch.setattr("mvector.trainer.StopRequest", lambda: StopAfter(10**9))
    shutil.rmtree(source)  # what a run needs to go on is in last_model
    broken = train(settings, tmp_path / "broken", do_eval=False).folder
    for file in ("model.safetensors", "frontend.safetensors", "classifier.safetensors", "frontend_config.json"):
        assert (broken / "last_model" / file).read_bytes() == (unbroken / "last_model" / file).read_bytes(), file


def test_a_run_may_start_from_another_models_front_end(settings, source, tmp_path):
    base = train(settings, tmp_path, do_eval=False).folder / "best_model"
    settings["preprocess_conf"]["method_args"] = {"freeze": False}
    settings["optimizer_conf"] = {"optimizer": "SGD", "optimizer_args": {"lr": 1e-12}, "scheduler": "StepLR",
                                  "scheduler_args": {"step_size": 1}}  # fmt: skip
    tuned = front_end(train(settings, tmp_path / "tuned", pretrained_model=base, do_eval=False).folder / "last_model")
    for key, value in front_end(base).items():
        torch.testing.assert_close(tuned[key], value, rtol=0, atol=1e-6)
    assert tuned[WEIGHTS].abs().min() > 1e-4


def test_another_front_end_than_the_pretrained_models_is_refused(settings, source, tmp_path):
    base = train(settings, tmp_path, do_eval=False).folder / "best_model"
    settings["preprocess_conf"]["feature_method"] = save_front_end(tmp_path / "deep", num_hidden_layers=4)
    with pytest.raises(ModelError, match=r"frontend\.safetensors"):
        train(settings, tmp_path / "tuned", pretrained_model=base)


def test_the_model_directory_alone_gives_the_stored_figures(settings, source, tmp_path, corpus):
    run = train(settings, tmp_path)
    shutil.rmtree(source)
    model = load_model(run.folder / "best_model")
    trials = load_trials(trials_list=settings["dataset_conf"]["dev_trials_list"])
    result, _ = evaluate_trials(model.embedder, model.config, trials)
    assert result.eer == pytest.approx(run.best_metrics["eer"], abs=1e-12)
    predictor = MVectorPredictor(model_path=run.folder / "best_model", device="cpu")
    first, second = (predictor.predict(Path(corpus["folder"], "test-10", f"{n}.wav")) for n in (0, 1))
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-6)
    assert -1 <= float(first @ second) < 1


def test_mixed_precision_covers_the_front_end(settings, source, tmp_path):
    settings["preprocess_conf"]["method_args"] = {"freeze": False}
    settings["train_conf"]["enable_amp"] = True
    seen = set()
    trainer = MVectorTrainer(load_config(settings), device="cpu")
    step = trainer.compute_loss

    def watched(run, batch):
        layer = run.embedder.featurizer.feature.model.encoder.layers[0].feed_forward.intermediate_dense
        hook = layer.register_forward_hook(lambda module, given, output: seen.add(output.dtype))
        try:
            return step(run, batch)
        finally:
            hook.remove()

    trainer.compute_loss = watched
    run = trainer.train(tmp_path / "models", tmp_path / "log", do_eval=False)
    assert seen == {torch.bfloat16}
    assert all(value.isfinite().all() for value in front_end(run.folder / "last_model").values())


LEARNED_FILTERS = """
import torch
from torch import nn
class Filters(nn.Module):
    sample_rate_hz, min_samples = 16000, 400
    def __init__(self, filters=8):
        super().__init__()
        self.feature_size = filters
        self.convolution = nn.Conv1d(1, filters, 400, 160)
    def forward(self, waveforms, lengths=None):
        features = self.convolution(waveforms[:, None]).transpose(1, 2)
        return features, torch.full((len(waveforms),), features.shape[1])
"""


def test_a_users_own_learned_feature_is_trained_saved_and_resumed(settings, tmp_path, monkeypatch):
    (tmp_path / "learned_filters.py").write_text(LEARNED_FILTERS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings["preprocess_conf"] = {"feature_method": "learned_filters.Filters"}
    settings["train_conf"]["max_epoch"] = 2
    torch.manual_seed(settings["train_conf"]["seed"])
    untrained = SpeakerEmbedder.from_config(load_config(settings)).featurizer.feature.convolution.weight
    unbroken = train(settings, tmp_path / "unbroken", do_eval=False)
    assert not unbroken.features_in_workers
    learned = front_end(unbroken.folder / "last_model")
    assert not torch.equal(learned["feature.convolution.weight"], untrained)
    monkeypatch.setattr("mvector.trainer.StopRequest", lambda: StopAfter(4))
    with pytest.raises(Interrupted):
        train(settings, tmp_path / "broken", do_eval=False)
    monkeypatch.setattr("mvector.trainer.StopRequest", lambda: StopAfter(10**9))
    resumed = front_end(train(settings, tmp_path / "broken", do_eval=False).folder / "last_model")
    assert all(torch.equal(resumed[key], value) for key, value in learned.items())
    stored = load_model(unbroken.folder / "last_model").embedder.featurizer.feature.convolution.weight
    assert torch.equal(stored, learned["feature.convolution.weight"])
