"""What a configuration may ask of a loss, and what it is told when the parts do not fit."""

import pytest
import yaml

from mvector.config import load_config
from mvector.errors import ConfigError
from mvector.registry import LOSSES
from tests.losses.loss_data import OF_1_1

COMPARING = [name for name in LOSSES.names() if getattr(LOSSES.get(name), "needs_pk_batches", False)]


def config_of(loss: str, arguments: dict | None = None, **data) -> dict:
    return {
        "dataset_conf": data,
        "model_conf": {"classifier": {"K": getattr(LOSSES.build(loss, arguments), "K", 1)}},
        "loss_conf": {"loss": loss, "loss_args": arguments or {}},
    }


@pytest.mark.parametrize("name", OF_1_1)
def test_files_of_the_older_package_name_it_with_its_arguments(name, tmp_path):
    """Whatever the file says of the sampler: that package, too, draws P×K batches for its triplet loss regardless."""
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(config_of(name, OF_1_1[name], is_use_pksampler=False)), encoding="utf-8")
    config = load_config(path)
    assert config.dataset_conf.is_use_pksampler == (name == "TripletAngularMarginLoss")
    loss = LOSSES.build(config.loss_conf.loss, config.loss_conf.loss_args)
    if name != "CELoss":
        assert loss.margin == OF_1_1[name]["margin"]
    assert load_config(yaml.safe_load(config.to_yaml())) == config


@pytest.mark.parametrize("name", COMPARING)
def test_a_loss_that_compares_utterances_wants_several_of_a_speaker(name):
    fitting = {"is_use_pksampler": True, "sample_per_id": 2, "sampler": {"batch_size": 8}}
    assert load_config(config_of(name, **fitting)).dataset_conf.is_use_pksampler
    with pytest.raises(ConfigError, match=r"dataset_conf.sample_per_id: found 1, but .* set it to at least 2"):
        load_config(config_of(name, **fitting | {"sample_per_id": 1}))
    with pytest.raises(ConfigError, match=r"dataset_conf.sample_per_id: 3 does not divide sampler.batch_size, 8"):
        load_config(config_of(name, **fitting | {"sample_per_id": 3}))


@pytest.mark.parametrize("name", ["GE2ELoss", "PrototypicalLoss"])
def test_without_pk_batches_the_key_is_named_with_its_line(name, tmp_path):
    path = tmp_path / "config.yml"
    path.write_text(f"dataset_conf:\n  is_use_pksampler: False\nloss_conf:\n  loss: {name}\n", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=f"config.yml:2: dataset_conf.is_use_pksampler: {name} .*set is_use_pksampler"
    ):
        load_config(path)
    with pytest.raises(ConfigError, match=r"dataset_conf.is_use_pksampler"):
        load_config({"loss_conf": {"loss": name}})
