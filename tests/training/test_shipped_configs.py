"""Every YAML in configs/ builds its model and trains it three steps, and every backbone has one."""

from pathlib import Path

import pytest

from mvector.config import load_config
from mvector.config.yaml_text import read_yaml
from mvector.registry import BACKBONES
from mvector.trainer import MVectorTrainer
from tests.tiny_front_ends import save_front_end

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = sorted(path.name for path in CONFIGS.glob("*.yml") if path.stem != "augmentation")  # recipes: test_recipes.py


def read(name: str) -> dict:
    return read_yaml(CONFIGS / name)[0]


def test_every_backbone_has_a_config():
    assert set(BACKBONES.names()) <= {read(name)["model_conf"]["model"] for name in NAMES}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_three_steps(name, corpus, tmp_path):
    content = read(name)
    data = content["dataset_conf"]
    data["dataset"] = {**data.get("dataset", {}), "min_duration": 0.1, "max_duration": 0.4}
    # 36 recordings: three batches of twelve.
    data["sampler"] = {"batch_size": 12, "drop_last": True}
    data.pop("sample_per_id", None)
    data["dataLoader"] = {"num_workers": 0}
    data["train_list"] = corpus["train"]
    content.pop("augmentation", None)
    if content["preprocess_conf"].get("use_hf_model"):  # the hub is not asked in a test
        pytest.importorskip("transformers")
        content["preprocess_conf"]["feature_method"] = save_front_end(tmp_path / "front end")
    config = load_config(content, overrides=["train_conf.max_epoch=1", "train_conf.log_interval=1"])
    run = MVectorTrainer(config, device="cpu").train(tmp_path / "models", tmp_path / "log", do_eval=False)
    assert run.step == 3
    assert (run.folder / "last_model" / "model.safetensors").is_file()
    assert all(parameter.isfinite().all() for parameter in run.embedder.parameters())
