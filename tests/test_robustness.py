"""Recordings made worse on purpose, and what a model makes of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.cli.robustness import main
from mvector.data.trials import all_pairs, load_trials
from mvector.errors import ConfigError, MVectorError
from mvector.evaluation import evaluate_trials
from mvector.model_directory import load_model
from mvector.robustness import (
    Condition,
    conditions,
    measure,
    opus,
    opus_file,
    pink_noise,
    quiet,
    read_noises,
    telephone,
)

RATE = 16000


def level_db(sound: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(sound, dtype=np.float64)))


def named(name: str, noises=()) -> Condition:
    return next(condition for condition in conditions(noises) if condition.name.startswith(name))


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(5)


def test_a_clip_is_the_middle_of_the_recording(voice, generator):
    cut = named("1 s").change(voice, RATE, generator)
    np.testing.assert_array_equal(cut, voice[RATE : 2 * RATE])
    np.testing.assert_array_equal(named("5 s").change(voice, RATE, generator), voice)  # it has three


@pytest.mark.parametrize("snr_db", [20, 10, 0])
@pytest.mark.parametrize("kind", ["pink", "recorded"])
def test_noise_has_the_ratio_that_it_is_named_after(voice, generator, snr_db, kind):
    noises = [] if kind == "pink" else [generator.normal(size=500).astype(np.float32)]  # shorter than the recording
    heard = named(f"noise, SNR {snr_db} dB", noises).change(voice, RATE, generator)
    assert level_db(voice) - level_db(heard - voice) == pytest.approx(snr_db, abs=0.02)


def test_pink_noise_has_as_much_power_in_every_octave(generator):
    power = np.abs(np.fft.rfft(pink_noise(1 << 17, generator))) ** 2
    octaves = [power[start : 2 * start].sum() for start in (512, 2048, 8192, 32768)]
    np.testing.assert_allclose(octaves, np.mean(octaves), rtol=0.1)


def test_a_telephone_leaves_its_band_and_little_noise(voice, generator):
    heard = telephone(voice, RATE, generator)
    assert len(heard) == len(voice)
    spectra = [np.abs(np.fft.rfft(sound)) ** 2 for sound in (voice, heard)]
    frequency = np.fft.rfftfreq(len(voice), 1 / RATE)
    inside = (frequency > 350) & (frequency < 3300)
    outside = (frequency < 250) | (frequency > 3600)
    before, after = (spectrum[outside].sum() / spectrum[inside].sum() for spectrum in spectra)
    assert after < 1e-3 < before
    # 8 bits of µ-law: a signal-to-noise ratio of about 38 dB (G.711).
    narrow = np.fft.irfft(np.where((frequency >= 300) & (frequency <= 3400), np.fft.rfft(voice), 0), len(voice))
    assert 30 < level_db(narrow) - level_db(heard - narrow) < 45


def test_a_quiet_recording_is_one_of_16_bits(voice, generator):
    heard = quiet(voice, RATE, generator)
    assert level_db(heard) == pytest.approx(-40, abs=0.05)
    np.testing.assert_array_equal(heard * 32768, np.rint(heard * 32768))


def test_opus_at_twelve_kilobits(voice, generator):
    long = np.tile(voice, 10)
    assert 8 * len(opus_file(long, RATE)) / (len(long) / RATE) == pytest.approx(12_000, rel=0.2)
    heard = opus(long, RATE, generator)
    assert abs(len(heard) - len(long)) <= RATE // 50
    both = min(len(heard), len(long)) // 480 * 480
    spectra = [np.abs(np.fft.rfft(sound[:both].reshape(-1, 480), axis=1)) for sound in (heard, long)]
    assert np.corrcoef(spectra[0].ravel(), spectra[1].ravel())[0, 1] > 0.8
    assert not np.allclose(heard[:both], long[:both], atol=1e-3)


@pytest.fixture
def trial_list(tmp_path, make_voice) -> Path:
    """Four speakers with four recordings each, every pair a trial."""
    names = []
    for number in range(16):
        sound = make_voice(0.7 + 0.03 * number, seed=number) * (0.2 + 0.05 * (number // 4))
        soundfile.write(tmp_path / f"{number:02d}.wav", sound, RATE)
        names.append(f"{number:02d}.wav")
    lines = [f"{int(a // 4 == b // 4)} {names[a]} {names[b]}" for a in range(16) for b in range(a + 1, 16)]
    path = tmp_path / "trials_four.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_as_recorded_it_is_what_the_evaluation_finds(tiny_model_dir, trial_list):
    model, trials = load_model(tiny_model_dir), load_trials(None, trial_list)
    expected, scored = evaluate_trials(model.embedder, model.config, trials)
    [found] = measure(model.embedder, model.config, trials, 0.9, [named("as recorded")])
    assert found.eer == pytest.approx(expected.eer, abs=1e-12)
    assert found.eer_interval_95 == pytest.approx(expected.intervals_95["eer"])
    assert found.far == np.mean(scored.scores[~scored.labels] > 0.9)
    assert found.frr == np.mean(scored.scores[scored.labels] <= 0.9)
    assert (found.trials, found.left_out) == (120, 0)


def test_only_the_tested_recordings_are_changed(tiny_model_dir, trial_list):
    """With the tested side silenced nothing is left to score; the enrolled recording that is never tested was heard."""
    model, trials = load_model(tiny_model_dir), load_trials(None, trial_list)
    heard = []

    def watched(waveform, rate_hz, rng):
        heard.append(len(waveform))
        return waveform if len(heard) > 3 else waveform[:10]

    [found] = measure(model.embedder, model.config, trials, None, [Condition("cut", watched)])
    assert len(heard) == 15  # the first recording is on the enrolled side alone
    assert found.left_out == 3
    assert found.trials == 120 - (1 + 2 + 3)
    assert (found.threshold, found.far, found.frr) == (None, None, None)


def test_two_models_hear_the_same(tiny_model_dir, trial_list):
    model, trials = load_model(tiny_model_dir), load_trials(None, trial_list)
    noisy = [named("noise, SNR 0 dB")]
    first, second = (measure(model.embedder, model.config, trials, 0.5, noisy) for _ in range(2))
    assert first == second


def test_pairs_of_data_lists_are_refused(tiny_model_dir):
    model = load_model(tiny_model_dir)
    with pytest.raises(MVectorError, match="measured on a trial list"):
        measure(model.embedder, model.config, all_pairs([], []), None, [])


@pytest.mark.slow
def test_the_tool_writes_a_table_a_picture_and_figures(tiny_model_dir, trial_list, tmp_path, capsys):
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(0).normal(0, 0.1, 8000), RATE)
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise.wav").rename(tmp_path / "noise" / "noise.wav")
    assert len(read_noises(tmp_path / "noise", RATE)) == 1
    output = tmp_path / "结果"
    arguments = ["--model_path", str(tiny_model_dir), "--list", str(trial_list), "--device", "cpu"]
    main([*arguments, "--noise_dir", str(tmp_path / "noise"), "--output", str(output)])
    table = (output / "robustness.md").read_text(encoding="utf-8")
    assert table in capsys.readouterr().out
    names = [condition.name for condition in conditions()]
    assert [line.split("|")[1].strip() for line in table.splitlines()] == ["condition", "---", *names]
    figures = json.loads((output / "robustness.json").read_text(encoding="utf-8"))
    assert [outcome["condition"] for outcome in figures["four"]] == names
    assert {outcome["threshold"] for outcome in figures["four"]} == {0.25}  # the model's own
    assert (output / "robustness.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_list_it_says_so(tiny_model_dir):
    with pytest.raises(ConfigError, match="give trial lists with --list"):
        main(["--model_path", str(tiny_model_dir), "--device", "cpu"])
