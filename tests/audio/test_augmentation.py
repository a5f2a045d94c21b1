"""Augmentation against direct computation, and a batch against its rows."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from mvector.audio.augmentation import (
    SPEEDS,
    ChangeSpeed,
    ChannelRange,
    NoiseCategory,
    Noises,
    Recordings,
    RoomResponses,
    WaveformAugment,
    WaveformDraws,
    add_noise,
    list_sounds,
    read_stretch,
    source_samples,
    tile,
)
from mvector.audio.augmentation.rooms import fast_size
from mvector.audio.augmentation.waveform import CHANNEL, CHANNEL_CURVE, COLUMNS, ROOM, SPEED, VOLUME_DB, Material
from mvector.data.dataset import collate_materials
from mvector.errors import AudioError, ConfigError, TooShortError

RATE = 16000


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def power(x: np.ndarray) -> float:
    return float(np.mean(np.square(x, dtype=np.float64)))


def write(path: Path, wave: np.ndarray, rate: int = RATE) -> str:
    soundfile.write(path, wave, rate, subtype="FLOAT")
    return str(path)


def augmented(wave: np.ndarray, response: np.ndarray | None = None, target_db: float | None = None, **columns):
    """A waveform through the module, with these columns of the record of draws."""
    draws = torch.zeros(1, COLUMNS)
    for name, value in columns.items():
        draws[0, {"room": ROOM, "channel": CHANNEL, "curve": CHANNEL_CURVE, "volume_db": VOLUME_DB}[name]] = value
    responses = None if response is None else torch.from_numpy(response)[None]
    module = WaveformAugment(len(wave), RATE, target_db)
    return module(Material(torch.from_numpy(wave)[None], draws, None, responses))[0].numpy()


def noises(path: str, snr_db: float, **arguments) -> Noises:
    return Noises([NoiseCategory("noise", 1.0, Recordings([path]), snr_db, snr_db, **arguments)], RATE)


def test_noise_is_mixed_at_the_ratio_asked_for(tmp_path, rng):
    path = write(tmp_path / "noise.wav", rng.uniform(-0.2, 0.2, 3 * RATE))
    wave = (0.1 * rng.standard_normal(RATE)).astype(np.float32)
    for snr in (-5.0, 0.0, 20.0):
        noise = noises(path, snr)(RATE, rng, [])
        mixed = add_noise(torch.from_numpy(wave)[None], torch.from_numpy(noise)[None])[0].numpy()
        assert 10 * np.log10(power(wave) / power(mixed - wave)) == pytest.approx(snr, abs=0.01)


def test_noise_shorter_than_the_crop_is_repeated_and_silence_adds_nothing(tmp_path, rng):
    path = write(tmp_path / "short.wav", rng.uniform(-0.2, 0.2, RATE // 4))
    added = noises(path, 0.0)(RATE, rng, [])
    np.testing.assert_array_equal(added[: RATE // 4], added[RATE // 4 : RATE // 2])
    silence = write(tmp_path / "silence.wav", np.zeros(RATE))
    assert noises(silence, 0.0)(RATE, rng, []) is None


def test_each_of_several_recordings_is_added_at_the_ratio(tmp_path, rng):
    """Stretches of white noise are uncorrelated: the power of the mixture tells how many there are."""
    path = write(tmp_path / "white.wav", 0.1 * rng.standard_normal(20 * RATE))
    babble = noises(path, 12.0, min_count=3, max_count=5)
    counts = [power(babble(RATE, rng, [])) * 10**1.2 for _ in range(40)]
    np.testing.assert_allclose(counts, np.round(counts), atol=0.2)
    assert set(np.round(counts)) == {3, 4, 5}


def test_categories_are_chosen_by_their_share_and_exclude_each_other(tmp_path, rng):
    low = write(tmp_path / "low.wav", np.full(RATE, 0.1))
    high = write(tmp_path / "high.wav", np.full(RATE, -0.1))
    both = Noises(
        [NoiseCategory("low", 0.2, Recordings([low]), 0, 0), NoiseCategory("high", 0.5, Recordings([high]), 0, 0)],
        RATE,
    )
    drawn = [both(100, rng, []) for _ in range(600)]
    shares = [np.mean([d is not None and d[0] * sign > 0 for d in drawn]) for sign in (1, -1)]
    assert shares[0] == pytest.approx(0.2, abs=0.06)  # 3.7 standard deviations
    assert shares[1] == pytest.approx(0.5, abs=0.08)
    assert sum(d is None for d in drawn) == 600 - round(600 * sum(shares))


def test_babble_of_the_training_list_leaves_out_the_speaker(tmp_path, rng):
    """The speaker's own recordings are negative, those of the others positive."""
    paths = [write(tmp_path / f"{n}.wav", np.full(RATE, -0.1 if n < 2 else 0.1)) for n in range(4)]
    training = Recordings(paths, labels=[7, 7, 8, 9])
    babble = Noises([NoiseCategory("babble", 1.0, None, 0, 0, 3, 3)], RATE)
    for _ in range(30):
        mixture = babble(100, rng, [], training, label=7)
        np.testing.assert_allclose(mixture, 3.0, rtol=1e-5)


def test_a_broken_noise_recording_is_reported_and_left_out(tmp_path, rng):
    (tmp_path / "broken.wav").write_bytes(b"x")
    skipped: list[tuple[str, str]] = []
    assert noises(str(tmp_path / "broken.wav"), 0.0)(RATE, rng, skipped) is None
    assert skipped[0][0] == str(tmp_path / "broken.wav")
    assert "without it" in skipped[0][1]


def test_reverberation_is_the_convolution_with_the_response_from_its_direct_sound(tmp_path, rng):
    response = np.zeros(4000, np.float32)
    response[300:] = np.exp(-np.arange(3700) / 300) * rng.standard_normal(3700) * 0.1
    response[300] = 0.9  # the direct sound, after 300 samples of silence
    responses = RoomResponses([write(tmp_path / "room.wav", response)], RATE)
    wave = rng.standard_normal(9001).astype(np.float32)
    direct = response[300:].astype(np.float64)
    whole = np.convolve(wave, direct / np.sqrt(np.sum(direct**2)))
    expected = whole[: len(wave)].copy()
    circle = fast_size(len(wave))
    expected[: len(whole) - circle] += whole[circle:]  # the tail of the end lies over the beginning
    np.testing.assert_allclose(augmented(wave, responses.samples(0).numpy(), room=1), expected, atol=2e-5)
    spectrum = responses.spectrum(0, WaveformAugment(len(wave), RATE).room_and_channel.size)
    np.testing.assert_allclose(augmented(wave, spectrum.numpy(), room=1), expected, atol=2e-5)


def test_a_silent_response_is_an_error(tmp_path):
    with pytest.raises(AudioError, match=r"quiet\.wav.*silent"):
        RoomResponses([write(tmp_path / "quiet.wav", np.zeros(4000))], RATE).samples(0)


def test_the_channel_limits_the_band_and_keeps_time(rng):
    wave = rng.standard_normal(RATE).astype(np.float32)
    gains = torch.tensor([0.0, 4000.0, *rng.uniform(-5, 5, 7)])
    limited = augmented(wave, channel=1, curve=gains)
    before, after = np.abs(np.fft.rfft(wave)) ** 2, np.abs(np.fft.rfft(limited)) ** 2
    frequencies = np.fft.rfftfreq(RATE, 1 / RATE)
    ratio_db = 10 * np.log10([after[band].sum() / before[band].sum() for band in
                              (frequencies > 4600, (frequencies > 500) & (frequencies < 3900))])  # fmt: skip
    assert ratio_db[0] < -40
    assert abs(ratio_db[1]) <= 5.5
    lag = np.argmax(np.correlate(limited, wave[2000:-2000], "valid")) - 2000
    assert lag == 0


def test_the_channel_has_the_given_gain_at_the_given_frequencies():
    """A tone at one of the seven comes out with its gain (the scale is the logarithm of 20 Hz more)."""
    wave = np.sin(2 * np.pi * 980 * np.arange(RATE) / RATE).astype(np.float32)
    louder = augmented(wave, channel=1, curve=torch.tensor([0.0, 8000.0, 0, 0, 0, 6.0, 0, 0, 0]))
    assert 10 * np.log10(power(louder[2000:-2000]) / power(wave[2000:-2000])) == pytest.approx(6.0, abs=0.05)


def test_nothing_happens_without_draws(rng):
    wave = rng.standard_normal(100).astype(np.float32)
    np.testing.assert_array_equal(augmented(wave), wave)


def test_volume_and_level(rng):
    wave = rng.standard_normal(100).astype(np.float32)
    np.testing.assert_allclose(augmented(wave, volume_db=6.0206), 2 * wave, rtol=1e-5)
    levelled = augmented(wave, target_db=-26.0)
    assert 10 * np.log10(power(levelled)) == pytest.approx(-26.0, abs=1e-4)
    assert 10 * np.log10(power(augmented(wave, target_db=-26.0, volume_db=3.0))) == pytest.approx(-23.0, abs=1e-4)
    assert not augmented(np.zeros(100, np.float32), target_db=-26.0).any()


EVERY_SPEED = (1.0, 0.8, 0.9, 1.1, 1.2)


@pytest.mark.parametrize("speed_class", range(1, len(EVERY_SPEED)))
def test_speed_is_what_soxr_computes_inside_the_pass_band(rng, speed_class):
    """Noise up to 0.8 of the lower Nyquist frequency: soxr at its best differs by less than -60 dB."""
    speed, samples = EVERY_SPEED[speed_class], 2 * RATE
    source = source_samples(samples, speed)
    spectrum = np.fft.rfft(rng.standard_normal(source))
    spectrum[round(0.8 * min(1, 1 / speed) * len(spectrum)) :] = 0
    wave = np.fft.irfft(spectrum, source).astype(np.float32)
    ours = ChangeSpeed(samples, EVERY_SPEED)(torch.from_numpy(wave)[None], np.array([speed_class]))[0].numpy()
    soxrs = soxr.resample(wave, round(1000 * speed), 1000, quality="VHQ")[:samples]
    inner = slice(200, len(soxrs) - 200)
    assert power((ours[: len(soxrs)] - soxrs)[inner]) < 1e-6 * power(soxrs[inner])


def test_speed_lets_nothing_alias(rng):
    """A tone above the new Nyquist frequency disappears; at 0.9 nothing appears above the old one."""
    tone = np.sin(2 * np.pi * 7900 * np.arange(2 * RATE) / RATE).astype(np.float32)
    fast = ChangeSpeed(RATE)(torch.from_numpy(tone)[None], np.array([2]))[0].numpy()
    assert power(fast[500:-500]) < 1e-6 * power(tone)
    noise = rng.standard_normal(RATE).astype(np.float32)
    slow = ChangeSpeed(RATE)(torch.from_numpy(noise)[None], np.array([1]))[0].numpy()
    spectrum = np.abs(np.fft.rfft(slow * np.hanning(RATE))) ** 2
    assert spectrum[7400:].mean() < 1e-6 * spectrum[:6000].mean()


@pytest.mark.parametrize("speed_class", range(len(EVERY_SPEED)))
def test_speed_changes_pitch_and_fills_the_crop(speed_class):
    speed = EVERY_SPEED[speed_class]
    wave = np.sin(2 * np.pi * 500 * np.arange(source_samples(RATE, speed)) / RATE).astype(np.float32)
    played = ChangeSpeed(RATE, EVERY_SPEED)(torch.from_numpy(wave)[None], np.array([speed_class]))[0].numpy()
    assert played.shape == (RATE,)
    assert np.abs(played[-100:]).max() > 0.5
    spectrum = np.abs(np.fft.rfft(played * np.hanning(RATE)))
    assert spectrum.argmax() == pytest.approx(500 * speed, abs=1)


def random_materials(folder: Path, on_device: bool, count: int = 12) -> list[Material]:
    """Everything at once, from the same draws whatever the path."""
    samples, rng = 8000, np.random.default_rng(5)
    rooms = [
        write(folder / f"room{n}.wav", np.exp(-np.arange(3000) / 400) * rng.standard_normal(3000)) for n in range(3)
    ]
    noise = write(folder / "noise.wav", rng.uniform(-0.3, 0.3, RATE))
    draws = WaveformDraws(
        speed_prob=1.0,
        responses=RoomResponses(rooms, RATE),
        room_prob=0.6,
        channel=ChannelRange(0.5),
        noises=Noises([NoiseCategory("noise", 0.6, Recordings([noise]), 0, 10)], RATE),
        volume_db=(-10, 10),
        volume_prob=0.5,
    )
    size = None if on_device else WaveformAugment(samples, RATE).room_and_channel.size
    materials = []
    for number in range(count):
        rng = np.random.default_rng((1, number))
        speed_class = draws.speed_class(rng)
        sound = 0.1 * rng.standard_normal(source_samples(samples, SPEEDS[speed_class]), dtype=np.float32)
        materials.append(draws.material(sound, speed_class, samples, rng, [], size))
    return materials


@pytest.mark.parametrize("target_db", [None, -20.0])
def test_a_row_of_a_batch_is_what_it_is_alone(tmp_path, target_db):
    """The batch has responses as samples, as a GPU gets them, the single rows have spectra, as on a CPU."""
    module = WaveformAugment(8000, RATE, target_db)
    alone, together = random_materials(tmp_path, False), random_materials(tmp_path, True)
    kinds = {
        (float(m.draws[SPEED]), m.response is not None, float(m.draws[CHANNEL]), m.noise is not None) for m in alone
    }
    assert len(kinds) >= 8  # enough combinations
    rows = [module(collate_materials([material]))[0] for material in alone]
    batch = module(collate_materials(together))
    assert batch.shape == (12, 8000)
    for row, of_batch in zip(rows, batch, strict=True):
        assert float((row - of_batch).abs().max() / row.abs().max()) < 1e-5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_computes_the_same(tmp_path):
    module, material = WaveformAugment(8000, RATE, -20.0), collate_materials(random_materials(tmp_path, True))
    expected = module(material)
    found = module.cuda()(material.to(torch.device("cuda"))).cpu()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_recordings_are_a_table_that_survives_pickling():
    table = Recordings(["a.wav", "目录/声音.flac", ""], [None, 1.5, None], [None, 2.5, None], [3, 4, 5])
    copy = pickle.loads(pickle.dumps(table))
    assert list(copy) == [("a.wav", None, None), ("目录/声音.flac", 1.5, 2.5), ("", None, None)]
    assert [copy.label(n) for n in range(3)] == [3, 4, 5]
    plain = Recordings(["a", "b"])
    assert list(plain) == [("a", None, None), ("b", None, None)]
    assert plain.label(0) == -1
    with pytest.raises(IndexError):
        table[3]


def test_a_stretch_lies_where_its_position_says_at_any_rate(tmp_path):
    """A ramp tells the time: position 0 is its beginning, 1 its last possible stretch."""
    for rate in (RATE, 48000, 8000):
        path = write(tmp_path / f"{rate}.wav", np.arange(4 * rate) / (4 * rate), rate)
        for position, start in ((0.0, 0.0), (0.5, 1.5), (1.0, 3.0)):
            wave = read_stretch(path, RATE, RATE, position)
            assert wave.shape == (RATE,)
            assert wave[RATE // 2] * 4 == pytest.approx(start + 0.5, abs=0.002)
        part = read_stretch(path, RATE, RATE, 0.5, 1.0, 3.0)
        assert part[RATE // 2] * 4 == pytest.approx(2.0, abs=0.002)
    with pytest.raises(TooShortError, match="min_duration"):
        read_stretch(path, RATE, RATE, 0.5, min_duration_s=4.5)


def test_tile():
    np.testing.assert_array_equal(tile(np.array([1, 2, 3]), 7, 1), [2, 3, 1, 2, 3, 1, 2])
    np.testing.assert_array_equal(tile(np.array([1, 2, 3]), 2), [1, 2])


def test_fast_sizes_are_the_smallest_smooth_even_numbers():
    def smooth(n: int) -> bool:
        for prime in (2, 3, 5):
            while n % prime == 0:
                n //= prime
        return n == 1

    for samples in (2, 3, 7, 100, 1000, 48000, 48001, 33001):
        assert fast_size(samples) == next(n for n in range(samples, 10**6) if n % 2 == 0 and smooth(n))


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no sound files.*prob to 0"):
        list_sounds(str(tmp_path / "nowhere"))
