"""`tools/reembed.py` from people enrolled by one model to the same people recognised by another."""

import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from mvector.cli.reembed import main
from mvector.errors import StoreError
from mvector.predict import MVectorPredictor

TOOL = Path(__file__).parents[2] / "tools" / "reembed.py"


def test_people_move_from_one_model_to_another(make_model, make_voice, tmp_path, capsys):
    old, new, database = make_model(name="old"), make_model(name="new", seed=1), tmp_path / "声纹库"
    voices = {name: make_voice(2.0, seed=seed) for seed, name in enumerate(("张三", "Ann"))}
    predictor = MVectorPredictor(model_path=old, device="cpu", audio_db_path=database)
    for name, voice in voices.items():
        predictor.register(voice, name)
    predictor.store.close()
    with pytest.raises(StoreError, match=r"tools/reembed\.py"):
        MVectorPredictor(model_path=new, device="cpu", audio_db_path=database)
    arguments = ["--model_path", str(new), "--audio_db_path", str(database), "--device", "cpu"]
    main(arguments)
    assert f"2 people with 2 recordings now belong to the model {new}" in capsys.readouterr().out
    moved = MVectorPredictor(model_path=new, device="cpu", audio_db_path=database)
    fresh = MVectorPredictor(model_path=new, device="cpu", audio_db_path=tmp_path / "fresh")
    for name, voice in voices.items():
        fresh.register(voice, name)
        # the kept recording is the speech of the first one: cutting it again may move its edges by a little
        assert moved.store.compare(name, fresh.store.mean(name)) > 0.99
        assert set(moved.store.utterances(name)[0].quality) == set(fresh.store.utterances(name)[0].quality)
    main(arguments)
    assert "2 people with 2 recordings" in capsys.readouterr().out


def test_recordings_that_were_not_kept_are_named_and_dropped_on_request(make_model, make_voice, tmp_path, capsys):
    old, new, database = make_model(name="old"), make_model(name="new", seed=1), tmp_path / "db"
    predictor = MVectorPredictor(model_path=old, device="cpu", audio_db_path=database, keep_audio=False)
    predictor.register(make_voice(2.0, seed=1), "Mute")
    predictor.store.close()
    arguments = ["--model_path", str(new), "--audio_db_path", str(database), "--device", "cpu"]
    with pytest.raises(StoreError, match="first of 'Mute' \\(its recording was not kept\\)"):
        main(arguments)
    main([*arguments, "--drop"])
    assert "1 enrolled recordings were deleted" in capsys.readouterr().out


def test_a_folder_without_a_store_is_not_made_into_one(tiny_model_dir, tmp_path, voice):
    (tmp_path / "Ann").mkdir()
    soundfile.write(tmp_path / "Ann" / "0.wav", [0.0] * 100, 16000)
    with pytest.raises(StoreError, match=r"no people are enrolled there, it has no voices.sqlite3"):
        main(["--model_path", str(tiny_model_dir), "--audio_db_path", str(tmp_path)])
    assert not (tmp_path / "voices.sqlite3").exists()


@pytest.mark.slow
def test_the_tool_starts_from_anywhere(tmp_path):
    done = subprocess.run([sys.executable, str(TOOL), "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0
    assert "--audio_db_path" in done.stdout
