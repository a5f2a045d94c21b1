"""Pictures of waveforms and spectrograms."""

import sys

import numpy as np
import pytest

from mvector.audio import save_spectrogram_picture, save_waveform_picture, trim_silence
from mvector.errors import MissingPackageError, MVectorError


def pixels(path) -> np.ndarray:
    from matplotlib.image import imread

    return imread(path)[..., :3]  # [height, width, RGB]


def test_waveform_picture(voice, tmp_path):
    path = tmp_path / "图" / "前后.png"
    sound = np.concatenate((np.zeros(16000, np.float32), voice))
    save_waveform_picture(path, sound, trim_silence(sound, 16000), 16000)
    image = pixels(path)
    assert image.shape == (600, 1200, 3)
    blue = (image[..., 2] > 0.5) & (image[..., 0] < 0.3)
    upper, lower = blue[:290], blue[310:]
    assert upper[:, 150:320].sum() < 0.1 * upper[:, 400:570].sum()  # the first second is silent before …
    assert lower[:, 150:320].sum() > 0.5 * lower[:, 400:570].sum()  # … and cut out after


def test_spectrogram_picture_shows_the_tone(tmp_path):
    t = np.arange(32000) / 16000
    path = tmp_path / "s.png"
    save_spectrogram_picture(path, (0.5 * np.sin(2 * np.pi * 2000 * t)).astype(np.float32), 16000)
    brightness = pixels(path).sum(axis=2)[:, 300:900].mean(axis=1)
    dark = np.flatnonzero(brightness < 0.3)  # the plot's area is black but for the tone
    bottom, top = dark.max(), dark.min()
    row = bottom - np.argmax(brightness[top:bottom][::-1])
    assert (bottom - row) / (bottom - top) == pytest.approx(2000 / 8000, abs=0.02)


@pytest.mark.parametrize("samples", [0, 10, 2_000_000])
def test_any_length_can_be_drawn(tmp_path, samples):
    sound = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    save_waveform_picture(tmp_path / "w.svg", sound, sound[: samples // 2], 16000)
    save_spectrogram_picture(tmp_path / "s.png", sound, 16000)
    assert (tmp_path / "w.svg").stat().st_size < 2_000_000
    assert (tmp_path / "s.png").stat().st_size > 1000


def test_nothing_global_is_touched(voice, tmp_path):
    save_waveform_picture(tmp_path / "w.png", voice, voice, 16000)
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_what_cannot_be_saved(voice, tmp_path, monkeypatch):
    with pytest.raises(MVectorError, match=r"w\.docx"):
        save_waveform_picture(tmp_path / "w.docx", voice, voice, 16000)
    (tmp_path / "file").touch()
    with pytest.raises(MVectorError, match="cannot be saved"):
        save_spectrogram_picture(tmp_path / "file" / "s.png", voice, 16000)
    for module in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match="pip install matplotlib"):
        save_waveform_picture(tmp_path / "w.png", voice, voice, 16000)
