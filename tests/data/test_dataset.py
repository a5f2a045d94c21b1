"""Training crops: what is read, how it is filled, what becomes of broken recordings."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mvector.audio.augmentation import (
    ChannelRange,
    NoiseCategory,
    Noises,
    Recordings,
    RoomResponses,
    WaveformDraws,
    list_sounds,
)
from mvector.data.dataset import Augmentation, CropSettings, TrainingDataset, collate
from mvector.data.lists import Utterance
from mvector.data.samplers import Draw
from mvector.errors import DataListError
from mvector.features import AudioFeaturizer
from mvector.features.spec_augment import SpecAugment

RATE = 16000


@pytest.fixture
def ramp(tmp_path: Path) -> str:
    """Four seconds whose sample value tells its time: sample n is n / 64000."""
    path = tmp_path / "ramp.wav"
    soundfile.write(path, np.arange(4 * RATE, dtype=np.float32) / (4 * RATE), RATE, subtype="FLOAT")
    return str(path)


def dataset(paths: list[str], crop: CropSettings | None = None, augment: Augmentation | None = None, **arguments):
    utterances = [p if isinstance(p, Utterance) else Utterance(p, f"s{n}") for n, p in enumerate(paths)]
    classes = {utterance.speaker: n for n, utterance in enumerate(utterances)}
    return TrainingDataset(utterances, classes, crop or CropSettings(1.0), augment or Augmentation(), 3, **arguments)


def test_a_crop_is_a_stretch_of_the_recording_and_wanders(ramp):
    data = dataset([ramp])
    starts = []
    for epoch in range(60):
        sound = data[Draw(epoch, 0, 0)].sound.numpy()
        assert sound.shape == (RATE,)
        np.testing.assert_allclose(np.diff(sound), 1 / (4 * RATE), atol=2e-7)
        starts.append(sound[0] * 4)
    assert min(starts) < 0.4
    assert max(starts) > 2.6
    assert max(starts) <= 3.001


def test_a_draw_decides_everything(ramp):
    data = dataset([ramp])
    torch.testing.assert_close(data[Draw(1, 0, 0)].sound, data[Draw(1, 0, 0)].sound, atol=0, rtol=0)
    assert not torch.equal(data[Draw(1, 0, 0)].sound, data[Draw(1, 0, 1)].sound)
    copy = pickle.loads(pickle.dumps(data))  # what a spawned worker gets
    assert torch.equal(copy[Draw(2, 0, 5)].sound, data[Draw(2, 0, 5)].sound)


def test_a_short_utterance_is_repeated_not_filled_with_zeros(tmp_path):
    path = tmp_path / "short.wav"
    wave = np.random.default_rng(0).uniform(0.1, 0.9, 4800).astype(np.float32)
    soundfile.write(path, wave, RATE, subtype="FLOAT")
    sound = dataset([str(path)])[Draw(0, 0, 0)].sound.numpy()
    assert sound.shape == (RATE,)
    assert sound.min() > 0.05
    np.testing.assert_array_equal(sound[:4800], sound[4800:9600])
    np.testing.assert_allclose(np.sort(sound[:4800]), np.sort(wave), atol=1e-6)


def test_a_segment_of_a_long_recording(ramp):
    data = dataset([Utterance(ramp, "a", 2.0, 3.5)])
    for epoch in range(20):
        sound = data[Draw(epoch, 0, 0)].sound.numpy() * 4
        assert sound[0] >= 2.0 - 1e-3
        assert sound[-1] <= 3.5 + 1e-3


def test_level(tmp_path):
    path = tmp_path / "loud.wav"
    soundfile.write(path, 0.5 * np.sin(np.arange(RATE) * 0.3).astype(np.float32), RATE, subtype="FLOAT")
    sound = dataset([str(path)], CropSettings(0.5, target_db=-26.0))[Draw(0, 0, 0)].sound.numpy()
    assert 10 * np.log10(np.mean(sound**2)) == pytest.approx(-26, abs=0.01)


def test_broken_recordings_are_replaced_and_reported(ramp, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"x")
    data = dataset([str(broken), ramp])
    example = data[Draw(0, 0, 0)]
    assert example.label == 1
    assert [path for path, _ in example.skipped] == [str(broken)] * len(example.skipped)
    assert collate([example, example])["skipped"] == example.skipped * 2
    with pytest.raises(DataListError, match="--check"):
        dataset([str(broken)])[Draw(0, 0, 0)]


def test_too_short_utterances_are_skipped(ramp, tmp_path):
    short = tmp_path / "short.wav"
    soundfile.write(short, np.full(2000, 0.3, np.float32), RATE)
    example = dataset([str(short), ramp], CropSettings(1.0, min_duration_s=0.5))[Draw(0, 0, 0)]
    assert "min_duration" in example.skipped[0][1]


def test_speed_classes(tmp_path):
    """A tone at 1.1 times the speed is 1.1 times as high, and counts as another speaker."""
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 1000 * np.arange(3 * RATE) / RATE).astype(np.float32), RATE)
    data = dataset([str(path), str(path)], augment=Augmentation(WaveformDraws(speed_prob=1.0), speed_classes=True))
    assert data.num_classes == 6
    heard = {}
    for repeat in range(40):
        example = data[Draw(0, 1, repeat)]
        spectrum = np.abs(np.fft.rfft(example.sound.numpy() * np.hanning(RATE)))
        heard.setdefault(example.label, set()).add(round(int(spectrum.argmax()), -1))
    assert heard == {1: {1000}, 3: {900}, 5: {1100}}


def test_features_in_the_worker_equal_features_of_the_batch(ramp):
    augment = Augmentation(spec_augment=SpecAugment(prob=1.0, freq_mask_ratio=0.3, time_mask_ratio=0.3))
    featurizer = AudioFeaturizer("Fbank", {"num_mel_bins": 20}, 32768.0)
    in_worker = dataset([ramp], augment=augment, featurizer=featurizer)
    outside = dataset([ramp], augment=augment)
    draws = [Draw(0, 0, n) for n in range(4)]
    batch = collate([outside[draw] for draw in draws])
    features, _ = featurizer(batch["sound"])
    expected = augment.spec_augment(features, batch["draws"])
    torch.testing.assert_close(collate([in_worker[draw] for draw in draws])["sound"], expected)


@pytest.fixture
def everything(tmp_path) -> Augmentation:
    for folder, count in (("noise", 2), ("rooms", 2)):
        (tmp_path / folder).mkdir()
        for n in range(count):
            rng = np.random.default_rng(n)
            decay = np.exp(-np.arange(8000) / 800) if folder == "rooms" else 1.0
            soundfile.write(tmp_path / folder / f"{n}.wav", 0.2 * rng.standard_normal(8000) * decay, RATE)
    noise = NoiseCategory("noise", 0.7, Recordings(list_sounds(str(tmp_path / "noise"))), 0, 10)
    return Augmentation(
        WaveformDraws(
            speed_prob=1.0,
            responses=RoomResponses(list_sounds(str(tmp_path / "rooms")), RATE),
            room_prob=0.7,
            channel=ChannelRange(0.7),
            noises=Noises([noise], RATE),
            volume_db=(-10, 10),
            volume_prob=0.7,
        )
    )


def test_everything_at_once_stays_finite_and_reproducible(ramp, everything):
    one, two = dataset([ramp], augment=everything), dataset([ramp], augment=everything)
    for n in range(10):
        sound = one[Draw(0, 0, n)].sound
        assert torch.isfinite(sound).all()
        assert torch.equal(sound, two[Draw(0, 0, n)].sound)


def test_a_device_makes_the_same_waveforms_of_materials(ramp, everything):
    """What a worker augments one by one, the module makes of a batch of materials, as a GPU does."""
    crop = CropSettings(0.8, target_db=-20.0)
    in_worker, outside = dataset([ramp], crop, everything), dataset([ramp], crop, everything, on_device=True)
    draws = [Draw(0, 0, n) for n in range(16)]
    batch = collate([outside[draw] for draw in draws])
    assert "sound" not in batch
    waveforms = outside.augment(batch["material"])
    expected = collate([in_worker[draw] for draw in draws])
    torch.testing.assert_close(waveforms, expected["sound"], rtol=0, atol=1e-5 * float(expected["sound"].abs().max()))
    assert torch.equal(batch["labels"], expected["labels"])
    assert torch.equal(batch["draws"], expected["draws"])


def test_a_broken_room_and_a_broken_noise_are_left_out_and_reported(ramp, tmp_path):
    (tmp_path / "x.wav").write_bytes(b"x")
    broken = str(tmp_path / "x.wav")
    noise = NoiseCategory("music", 1.0, Recordings([broken]), 0, 10)
    draws = WaveformDraws(responses=RoomResponses([broken], RATE), room_prob=1.0, noises=Noises([noise], RATE))
    example = dataset([ramp], augment=Augmentation(draws))[Draw(0, 0, 0)]
    plain = dataset([ramp])[Draw(0, 0, 0)]
    assert torch.equal(example.sound, plain.sound)
    assert [path for path, _ in example.skipped] == [broken, broken]
    assert "room" in example.skipped[0][1]
    assert "music" in example.skipped[1][1]


@pytest.mark.slow
def test_spawned_workers_give_the_same_examples(ramp):
    """Windows and macOS start workers afresh: the dataset must travel to them whole."""
    from torch.utils.data import DataLoader

    data = dataset([ramp, ramp], augment=Augmentation(WaveformDraws(speed_prob=1.0), spec_augment=SpecAugment(1.0)),
                   featurizer=AudioFeaturizer("Fbank", {"num_mel_bins": 20}))  # fmt: skip
    draws = [[Draw(0, n % 2, n) for n in range(4)], [Draw(1, n % 2, n) for n in range(4)]]
    loader = DataLoader(data, batch_sampler=draws, num_workers=1, collate_fn=collate, multiprocessing_context="spawn")
    for batch, chosen in zip(loader, draws, strict=True):
        expected = collate([data[draw] for draw in chosen])
        torch.testing.assert_close(batch["sound"], expected["sound"])
        assert torch.equal(batch["labels"], expected["labels"])
