"""tools/make_starter_model.py: its second run, and the last layer that is compensated."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.config import load_config
from mvector.data.lists import read_data_list
from mvector.embeddings import embed_utterances
from mvector.model_directory import load_model
from mvector.scoring import compensation, length_normalize
from mvector.training.distillation import trained_speeds

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tool():
    found = importlib.util.spec_from_file_location("make_starter_model", ROOT / "tools" / "make_starter_model.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_second_run_is_the_recipe_with_longer_crops_and_more_speeds(tool):
    recipe = ROOT / "configs" / "recipes" / "starter_model.yml"
    first, second = load_config(recipe), load_config(recipe, overrides=tool.SECOND_RUN)
    assert trained_speeds(first) == (1.0, 0.9, 1.1)
    assert trained_speeds(second) == (1.0, 0.9, 1.1, 0.8, 1.2)
    assert (first.dataset_conf.dataset.max_duration, second.dataset_conf.dataset.max_duration) == (2.0, 3.0)
    assert first.model_conf == second.model_conf


def test_the_compensated_model_gives_compensated_embeddings(tool, make_model, make_voice, tmp_path, monkeypatch):
    metrics = {
        "parameters": 1,
        "training_speakers": 14,
        "training_utterances": 42,
        "epoch": 3,
        "eer": 0.1,
        "threshold": 1,
    }
    best = make_model(metrics)
    for number, corpus in enumerate(tool.CORPORA):
        rows = []
        for seed in range(7):
            sound = make_voice(0.4, seed=10 * number + seed)
            soundfile.write(tmp_path / f"{corpus}-{seed}.wav", sound, 16000)
            rows.append(f"{tmp_path / corpus}-{seed}.wav\t{corpus}-{seed % 2}\n")
        (tmp_path / f"train_{corpus}.txt").write_text("".join(rows), encoding="utf-8")
    monkeypatch.setattr(tool, "LISTS", tmp_path)
    tool.compensate(best, tmp_path / "compensated")

    before, after = load_model(best), load_model(tmp_path / "compensated")
    utterances = [row for corpus in tool.CORPORA for row in read_data_list(tmp_path / f"train_{corpus}.txt")]
    old, new = (embed_utterances(m.embedder, m.config, utterances, "voices").embeddings for m in (before, after))
    speakers = [row.speaker for row in utterances]
    matrix = compensation(old, speakers, [speaker.split("-")[0] for speaker in speakers])
    np.testing.assert_allclose(length_normalize(new), length_normalize(old @ matrix), atol=1e-5)
    assert np.abs(length_normalize(new) - length_normalize(old)).max() > 1e-3
    assert after.speakers == before.speakers
    assert after.metrics == {key: metrics[key] for key in list(metrics)[:4]}  # the threshold was another network's
