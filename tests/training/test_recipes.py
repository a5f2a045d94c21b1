"""The recipes: what all of them have in common, and three steps of both stages of each on generated data."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.config import Config, load_config
from mvector.trainer import MVectorTrainer
from mvector.training.stages import large_margin_config

RATE = 16000
RECIPES = Path(__file__).parents[2] / "configs" / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.yml") if path.stem != "starter_model")


def test_two_corpora_and_four_networks():
    networks = ("campplus", "ecapa_tdnn", "eres2netv2", "resnet34")
    assert sorted(f"{corpus}_{network}" for corpus in ("cnceleb", "voxceleb2") for network in networks) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_settings_of_both_stages(name):
    """What the published results were reached with, and what follows from the size of a step."""
    config = load_config(RECIPES / f"{name}.yml")
    train, second, loss = config.train_conf, config.large_margin_conf, config.loss_conf
    assert (train.max_epoch, train.average_epochs) == (150, 10)
    assert loss.margin_scheduler_args | {"final_margin": loss.loss_args["margin"]} == loss.margin_scheduler_args
    assert [loss.margin_scheduler_args[key] for key in ("increase_start_epoch", "fix_epoch")] == [20, 40]
    assert (second.epochs, second.max_duration, second.margin) == (5, 6, 0.5)
    assert config.augmentation.speed.speed_perturb_3_class
    noise, room = sum(category.prob for category in config.augmentation.noises), config.augmentation.reverb.prob
    assert 1 - (1 - noise) * (1 - room) == pytest.approx(0.6, abs=0.005)
    step, step_of_second = steps_of(config)
    assert config.optimizer_conf.scheduler_args["max_lr"] == pytest.approx(0.1 * step / 64)
    assert step_of_second == 64


def steps_of(config: Config) -> tuple[int, int]:
    """How many utterances of one process make a step, in the first and the second stage."""
    batches, size = config.train_conf.accumulate_grad_batches, config.dataset_conf.sampler.batch_size
    return size * batches, large_margin_config(config).dataset_conf.sampler.batch_size * batches


@pytest.mark.parametrize("name", NAMES)
def test_its_command_for_eight_gpus_makes_the_steps_of_one(name):
    text = (RECIPES / f"{name}.yml").read_text(encoding="utf-8")
    command = text[text.index("torchrun") : text.index("# Test:")].replace("\\\n#", " ").split()
    assert "--nproc_per_node=8" in command
    overrides = [command[number + 1] for number, word in enumerate(command) if word == "--set"]
    on_eight = load_config(RECIPES / f"{name}.yml", overrides=overrides)
    assert [8 * step for step in steps_of(on_eight)] == list(steps_of(load_config(RECIPES / f"{name}.yml")))


@pytest.mark.parametrize("name", NAMES)
def test_comments_say_what_it_aims_at(name):
    """Published results with their source, hours that are called an estimate, and commands of this very file."""
    text = (RECIPES / f"{name}.yml").read_text(encoding="utf-8")
    heading = text[: text.index("\n\n")]
    assert "WeSpeaker" in heading or "3D-Speaker" in heading
    assert "Hours, estimated and not timed" in heading
    assert heading.count(f"configs/recipes/{name}.yml") == 2
    assert max(map(len, text.splitlines())) <= 120


@pytest.fixture(scope="session")
def sounds(tmp_path_factory) -> Path:
    """Folders with one noise and one room response each, where the recipes expect MUSAN and RIRS_NOISES."""
    root = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    for name in ("noise", "music", "speech", "rooms"):
        (root / name).mkdir()
        length = RATE // 10 if name == "rooms" else RATE
        soundfile.write(root / name / "0.wav", rng.normal(0, 0.05, length), RATE)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_three_steps_of_each_stage(name, corpus, sounds, tmp_path):
    """The network as it is; crops, batches and epochs are small, and every utterance is augmented in some way."""
    lines = Path(corpus["train"]).read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "train.txt").write_text("".join(lines[::3]), encoding="utf-8")  # 12 recordings of 6 speakers
    overrides = [
        "dataset_conf.dataset.min_duration=0.1",
        "dataset_conf.dataset.max_duration=0.3",
        "dataset_conf.sampler.batch_size=4",
        "dataset_conf.dataLoader.num_workers=0",
        f"dataset_conf.train_list={tmp_path / 'train.txt'}",
        "train_conf.max_epoch=1",
        "train_conf.average_epochs=1",
        "train_conf.enable_amp=False",
        "loss_conf.margin_scheduler_args.increase_start_epoch=0",
        "loss_conf.margin_scheduler_args.fix_epoch=1",
        "large_margin_conf.epochs=1",
        "large_margin_conf.max_duration=0.4",
        "large_margin_conf.batch_size=4",
        f"augmentation.reverb.reverb_dir={sounds / 'rooms'}",
    ]
    config = load_config(RECIPES / f"{name}.yml", overrides=overrides)
    for category, folder in zip(config.augmentation.noises, ("noise", "music", "speech"), strict=True):
        assert Path(category.noise_dir).name == folder
        category.noise_dir = str(sounds / folder)
    run = MVectorTrainer(config, device="cpu").train(tmp_path / "models", tmp_path / "log", do_eval=False)
    assert run.folder.name == "large_margin"
    assert run.step == 3
    assert run.loss.margin == 0.5
    assert len(run.speakers) == run.dataset.num_classes == 6  # no other speeds in the second stage
    for folder in (run.folder, run.folder.parent):
        assert (folder / "last_model" / "model.safetensors").is_file()
    assert all(parameter.isfinite().all() for parameter in run.embedder.parameters())
