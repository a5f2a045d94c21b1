import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from mvector.cli.train import main
from mvector.config import load_config
from mvector.trainer import MVectorTrainer
from mvector.training.samples import write_samples

LOG = Path("log") / "EcapaTdnn_Fbank" / "samples"


def rows(folder: Path) -> list[list[str]]:
    lines = (folder / LOG / "labels.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "file\tclass\tspeaker\trecording"
    return [line.split("\t") for line in lines[1:]]


def test_samples_are_the_examples_of_the_first_batches_with_their_labels(settings, tmp_path):
    settings["train_conf"]["max_epoch"] = 1
    trainer = MVectorTrainer(load_config(settings), device="cpu")
    run = trainer.train(tmp_path / "models", tmp_path / "log", do_eval=False, save_samples=8)
    listed = rows(tmp_path)
    assert [row[0][:4] for row in listed] == [f"{number:04d}" for number in range(1, 9)]
    run.batches.epoch = run.batches.first_batch = 0
    draws = [draw for batch in run.batches for draw in batch][:8]
    run.dataset.featurizer = None
    for (name, label, speaker, recording), draw in zip(listed, draws, strict=True):
        sound, rate = soundfile.read(tmp_path / LOG / name, dtype="float32")
        example = run.dataset[draw]
        assert (rate, len(sound)) == (16000, 8000)
        np.testing.assert_array_equal(sound, example.sound.numpy())
        assert int(label) == example.label
        assert Path(recording).parent.name == speaker == run.speakers[int(label) % 6]


def test_listening_does_not_change_the_run(settings, tmp_path):
    settings["train_conf"]["max_epoch"] = 1
    folders = [
        MVectorTrainer(load_config(settings), device="cpu")
        .train(tmp_path / str(count) / "models", tmp_path / str(count) / "log", do_eval=False, save_samples=count)
        .folder
        for count in (0, 5)
    ]
    one, other = ((folder / "last_model" / "model.safetensors").read_bytes() for folder in folders)
    assert one == other


def test_the_option_and_a_name_that_is_no_file_name(settings, tmp_path, corpus, capsys):
    text = Path(corpus["train"]).read_text(encoding="utf-8").replace("\ttrain-", "\t甲/乙: ")
    settings["dataset_conf"]["train_list"] = (tmp_path / "list.txt").as_posix()
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    settings["train_conf"]["max_epoch"] = 1
    config = tmp_path / "config.yml"
    config.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    main(["--configs", str(config), "--save_model_path", str(tmp_path / "models"), "--log_dir", str(tmp_path / "log"),
          "--device", "cpu", "--do_eval", "False", "--save_samples", "2"])  # fmt: skip
    assert len(rows(tmp_path)) == 2
    assert rows(tmp_path)[0][0].startswith("0001_甲_乙__")
    assert (tmp_path / LOG / rows(tmp_path)[0][0]).is_file()
    shutil.rmtree(tmp_path / LOG)


def test_features_computed_ahead_have_no_sound(settings, tmp_path):
    from mvector.errors import ConfigError
    from mvector.training.run import TrainingRun

    run = object.__new__(TrainingRun)
    run.dataset = object()
    with pytest.raises(ConfigError, match="computed ahead"):
        write_samples(run, tmp_path, 3)
