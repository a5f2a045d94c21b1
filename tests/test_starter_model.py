"""The model that the package carries: its files, its embeddings, its verdicts, and that a wheel has it."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

import mvector
from mvector.cli.contrast import main as contrast
from mvector.data.synthesis import Sentence, synthesize
from mvector.errors import NoSpeechError
from mvector.fingerprint import model_fingerprint
from mvector.opening import STARTER_MODEL
from mvector.predict import MVectorPredictor
from mvector.recognition.scale import Scoring

ROOT = Path(mvector.__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden" / "starter_model.npz"
RATE = 16000


@pytest.fixture(scope="module")
def predictor() -> MVectorPredictor:
    return MVectorPredictor()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("duration_s", [1.0, 3.0])
def test_embeddings_are_those_of_the_network_it_was_made_of(predictor, make_voice, seed, duration_s):
    """Recorded from the trained network in float32, before its weights became integers."""
    with np.load(GOLDEN) as recorded:
        expected = recorded[f"{seed} {duration_s:g}"]
    found = predictor.predict(make_voice(duration_s, seed=seed))
    assert found @ expected / np.linalg.norm(expected) > 0.999


def test_what_lies_in_its_folder():
    names = {file.name for file in STARTER_MODEL.iterdir()}
    assert names == {"model.onnx", "metrics.json", "cohort.safetensors", "speakers.txt", "MODEL_CARD.md"}
    assert sum(file.stat().st_size for file in STARTER_MODEL.iterdir()) < 10e6
    metrics = json.loads((STARTER_MODEL / "metrics.json").read_text(encoding="utf-8"))
    for stored in (metrics, metrics["as_norm"]):
        assert stored["threshold"] < stored["threshold_at_far_1_percent"]
        assert stored["calibration"]
    speakers = (STARTER_MODEL / "speakers.txt").read_text(encoding="utf-8").splitlines()
    assert len(speakers) == metrics["training_speakers"]


def test_its_cohort_decides_on_enrolled_people(predictor):
    fingerprint = model_fingerprint(predictor.model.path, predictor.config)
    scoring = Scoring.of_model(predictor.model.path, predictor.model.metrics, fingerprint)
    assert scoring.as_norm is not None
    assert len(scoring.cohort.means) == predictor.model.metrics["training_speakers"]


@pytest.fixture(scope="module")
def spoken() -> dict[str, list[np.ndarray]]:
    """Two sentences by each of six voices of eSpeak NG."""
    texts = (
        "The quick brown fox jumps over the lazy dog near the river bank.",
        "Please remember to close all the windows before you leave the house.",
    )
    voices = {
        "en-us+m2": 30,
        "en-us+f2": 60,
        "en-us+robosoft": 50,
        "en-us+Storm": 50,
        "en-us+f3": 70,
        "en-us+belinda": 70,
    }
    sentences = [Sentence(voice, text, pitch=pitch) for voice, pitch in voices.items() for text in texts]
    sounds, rate = synthesize(sentences)
    from mvector.audio.resample import resample

    sounds = [resample(np.asarray(sound, np.float32), rate, RATE) for sound in sounds]
    return {voice: sounds[2 * number : 2 * number + 2] for number, voice in enumerate(voices)}


def test_verdicts_on_synthesised_voices(predictor, spoken):
    """A robot, a man and a woman, whom the teacher tells apart too; others of this synthesiser are too much alike."""
    names = ("en-us+robosoft", "en-us+m2", "en-us+f3")
    for name in names:
        assert predictor.verdict(*spoken[name]).same, name
    for number, name in enumerate(names):
        for other in names[number + 1 :]:
            assert not predictor.verdict(spoken[name][0], spoken[other][1]).same, (name, other)


def test_each_synthesised_voice_is_nearest_to_itself(predictor, spoken):
    first, second = (predictor.predict_batch([sounds[number] for sounds in spoken.values()]) for number in (0, 1))
    np.testing.assert_array_equal((first @ second.T).argmax(axis=1), np.arange(len(spoken)))


def chord(*frequencies_hz: float) -> np.ndarray:
    time = np.arange(3 * RATE) / RATE
    return (0.1 * sum(np.sin(2 * np.pi * frequency * time) for frequency in frequencies_hz)).astype(np.float32)


@pytest.mark.parametrize(
    "sound",
    [
        pytest.param(chord(440.0), id="tone"),
        pytest.param(chord(261.6, 329.6, 392.0, 523.3), id="chord"),
        pytest.param(np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32), id="noise"),
        pytest.param(np.zeros(3 * RATE, np.float32), id="silence"),
    ],
)
def test_what_nobody_says_is_nobody(predictor, spoken, sound):
    with pytest.raises(NoSpeechError):
        predictor.verdict(sound, next(iter(spoken.values()))[0])


def test_the_command_needs_no_model(spoken, tmp_path, capsys):
    paths = [tmp_path / "一.wav", tmp_path / "二.wav"]
    for path, sound in zip(paths, spoken["en-us+m2"], strict=True):
        soundfile.write(path, sound, RATE)
    contrast(["--audio_path1", str(paths[0]), "--audio_path2", str(paths[1])])
    printed = capsys.readouterr().out
    assert "model: the small one that mvector carries" in printed
    assert "verdict: the same person" in printed
    assert "probability of one person" in printed


VERDICT = """
import sys
from mvector.predict import MVectorPredictor
verdict = MVectorPredictor().verdict("a.wav", "b.wav")
print(verdict.same, "torch" in sys.modules, sys.modules["mvector"].__file__)
"""


@pytest.mark.slow
def test_a_wheel_has_it_and_works_on_its_own(spoken, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "mvector", source / "mvector", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(command, check=True, timeout=300)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    for name, sound in zip(("a.wav", "b.wav"), spoken["en-us+f2"], strict=True):
        soundfile.write(tmp_path / name, sound, RATE)
    # -P: not the folder that the tests were started in; the wheel before an installation for development.
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n{VERDICT}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=300
    )
    same, with_torch, file = done.stdout.split(maxsplit=2)
    assert (same, with_torch) == ("True", "False")
    assert Path(file.strip()).is_relative_to(tmp_path / "site")
