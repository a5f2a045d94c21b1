"""Training from shards, and from features computed ahead, instead of a list of files."""

import pytest
import torch
from safetensors.torch import load_file

from mvector.config import load_config
from mvector.data.feature_extraction import extract_features
from mvector.data.lists import read_data_list
from mvector.data.shard_batches import ShardBatches
from mvector.data.shard_writer import ShardSettings, write_shards
from mvector.errors import ConfigError, DataListError
from mvector.trainer import Interrupted, MVectorTrainer


def train(settings, folder, do_eval=True):
    return MVectorTrainer(load_config(settings), device="cpu").train(folder / "models", folder / "log", do_eval=do_eval)


@pytest.fixture
def shards(corpus, tmp_path):
    """The lists of the corpus as shards: {'train': index, 'dev': index}."""
    for name in ("train", "dev"):
        write_shards(read_data_list(corpus[name]), tmp_path / f"{name} 分片", ShardSettings(5))
    return {name: str(tmp_path / f"{name} 分片" / "index.json") for name in ("train", "dev")}


@pytest.mark.slow
def test_training_on_shards_is_resumed_exactly(settings, shards, tmp_path, stop_after):
    """Also with shards for development; stopped inside an epoch, it ends with the weights of the unbroken run."""
    settings["dataset_conf"] |= {"train_list": shards["train"], "dev_trials_list": shards["dev"]}
    settings["train_conf"]["max_epoch"] = 2
    whole = train(settings, tmp_path / "whole")
    assert isinstance(whole.batches, ShardBatches)
    assert whole.best_eer < 0.6
    stop_after(8)
    with pytest.raises(Interrupted):
        train(settings, tmp_path / "cut")
    stop_after(float("inf"))
    resumed = train(settings, tmp_path / "cut")
    weights = [load_file(run.folder / "last_model" / "model.safetensors") for run in (whole, resumed)]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


def test_the_same_examples_come_from_files_and_from_shards(settings, corpus, shards):
    """An utterance's crop depends on the draw alone, not on where its bytes are."""
    from mvector.training.preparation import build_dataset, read_training_list

    settings["augmentation"] = {}
    examples = []
    for train_list in (corpus["train"], shards["train"]):
        settings["dataset_conf"]["train_list"] = train_list
        config = load_config(settings)
        utterances = read_training_list(config)
        classes = {speaker: n for n, speaker in enumerate(sorted({u.speaker for u in utterances}))}
        dataset = build_dataset(config, utterances, classes, None)
        found = [dataset._read(index, 4000, 0.3) for index in range(len(dataset))]
        examples.append(sorted((found[index].tobytes(), classes[u.speaker]) for index, u in enumerate(utterances)))
    assert examples[0] == examples[1]


@pytest.mark.slow
def test_training_on_features_computed_ahead(settings, corpus, tmp_path, stop_after):
    settings["augmentation"] = {"spec_aug": {"prob": 1.0}}
    settings["train_conf"]["max_epoch"] = 2
    config = load_config(settings)
    done = extract_features(config, read_data_list(corpus["train"]), tmp_path / "features", "float32")
    assert done.failed == 0
    settings["dataset_conf"] |= {"train_features": str(tmp_path / "features"), "train_list": None}
    whole = train(settings, tmp_path / "whole")
    assert whole.epoch == 2
    assert len(whole.speakers) == 6
    stop_after(8)
    with pytest.raises(Interrupted):
        train(settings, tmp_path / "cut")
    stop_after(float("inf"))
    resumed = train(settings, tmp_path / "cut")
    weights = [load_file(run.folder / "last_model" / "model.safetensors") for run in (whole, resumed)]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name
    assert all(torch.isfinite(tensor).all() for tensor in weights[0].values())


def test_features_that_do_not_fit_are_refused(settings, corpus, tmp_path):
    extract_features(load_config(settings), read_data_list(corpus["train"]), tmp_path / "features")
    settings["dataset_conf"]["train_features"] = str(tmp_path / "features")
    with pytest.raises(ConfigError, match="the augmentation asks for speed, volume, channel"):
        train(settings, tmp_path / "run")
    settings["augmentation"] = {}
    settings["preprocess_conf"]["method_args"]["num_mel_bins"] = 40
    with pytest.raises(DataListError, match=r"features of another recipe: preprocess_conf was .*24.*says .*40"):
        train(settings, tmp_path / "run")
    settings["dataset_conf"]["train_features"] = str(tmp_path / "nothing")
    with pytest.raises(DataListError, match="holds no finished packed features"):
        train(settings, tmp_path / "run")
