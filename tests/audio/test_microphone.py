"""The microphone: devices, missing packages and broken ones by a stand-in for PyAudio; a virtual one for real."""

import os
import shutil
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.audio import microphone as recording
from mvector.audio.microphone import Microphone
from mvector.errors import MicrophoneError, MissingPackageError

RATE = 16000


class FakeStream:
    def __init__(self, settings: dict, sound: np.ndarray):
        self.settings, block = settings, settings["frames_per_buffer"]
        for start in range(0, len(sound), block):
            settings["stream_callback"](sound[start : start + block].tobytes(), block, {}, 0)

    def close(self) -> None:
        self.settings["closed"] = True


class FakeAudio:
    """What PyAudio tells and gives: `devices` as dictionaries, `sound` [T] int16 from each of them."""

    def __init__(self, devices=(), default=0, rates=(16000, 48000), sound=None, refusal=None):
        self.known, self.default, self.rates, self.sound, self.refusal = devices, default, rates, sound, refusal
        self.opened: dict = {}
        self.terminated = False

    def get_device_count(self):
        return len(self.known)

    def get_device_info_by_index(self, index):
        return self.known[index]

    def get_default_input_device_info(self):
        if self.default is None:
            raise OSError("No Default Input Device Available")
        return {"index": self.default}

    def is_format_supported(self, rate, **_):
        if rate not in self.rates:
            raise ValueError("Invalid sample rate", -9997)
        return True

    def open(self, **settings):
        if self.refusal is not None:
            raise self.refusal
        self.opened = settings
        return FakeStream(settings, np.zeros(0, np.int16) if self.sound is None else self.sound)

    def terminate(self):
        self.terminated = True


def device(name: str, channels: int = 1, rate: float = 48000.0) -> dict:
    return {"name": name, "maxInputChannels": channels, "defaultSampleRate": rate}


DEVICES = (device("Loudspeaker", 0), device("USB Headset"), device("Webcam C920", 2, 32000.0), device("Webcam C270"))


@pytest.fixture
def plug_in(monkeypatch):
    def make(*arguments, **settings) -> FakeAudio:
        audio = FakeAudio(*arguments, **settings)
        module = types.SimpleNamespace(PyAudio=lambda: audio, paInt16=8, paContinue=0)
        monkeypatch.setitem(sys.modules, "pyaudio", module)
        return audio

    return make


def test_devices_are_those_that_hear(plug_in):
    audio = plug_in(DEVICES, default=2)
    with Microphone() as microphone:
        assert [(one.index, one.name, one.is_default) for one in microphone.devices()] == [
            (1, "USB Headset", False),
            (2, "Webcam C920", True),
            (3, "Webcam C270", False),
        ]
        assert microphone.device.index == 2
    assert audio.terminated


@pytest.mark.parametrize(
    ("wanted", "index"), [(3, 3), ("3", 3), ("headset", 1), ("C270", 3), ("Webcam C920", 2), (None, 1)]
)
def test_a_device_is_chosen_by_number_or_by_name(plug_in, wanted, index):
    plug_in(DEVICES, default=None)
    with Microphone(wanted) as microphone:
        assert microphone.device.index == index


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("webcam", "several microphones are called 'webcam'.*C920.*C270"),
        (0, "no microphone is.*USB"),
        ("x", "no micro"),
    ],
)
def test_a_device_that_is_not_there_or_not_alone(plug_in, wanted, expected):
    audio = plug_in(DEVICES)
    with pytest.raises(MicrophoneError, match=expected):
        Microphone(wanted)
    assert audio.terminated


def test_what_is_recorded_is_what_the_device_gives(plug_in):
    sound = np.random.default_rng(0).integers(-32768, 32768, 20000).astype(np.int16)
    audio, levels = plug_in(DEVICES, 1, sound=sound), []
    with Microphone() as microphone:
        recorded = microphone.record(1.0, lambda level, elapsed: levels.append((level, elapsed)))
    np.testing.assert_array_equal(recorded, sound[:RATE] / np.float32(32768))
    assert recorded.dtype == np.float32
    assert len(levels) == 20
    assert levels[-1][1] == 1.0
    assert levels[0][0] == pytest.approx(10 * np.log10(np.mean((sound[:800] / 32768) ** 2)))
    assert (audio.opened["rate"], audio.opened["channels"], audio.opened["closed"]) == (16000, 1, True)
    assert audio.opened["input_device_index"] == 1


def test_a_device_that_cannot_16_khz_records_at_its_own_rate(plug_in):
    audio = plug_in(DEVICES, 2, rates=(32000,), sound=np.zeros(64000, np.int16))
    with Microphone() as microphone:
        assert len(microphone.record(0.5)) == 16000
        assert microphone.rate_hz == audio.opened["rate"] == 32000


def test_broken_microphones_are_told(plug_in, monkeypatch):
    plug_in(())
    with pytest.raises(MicrophoneError, match=r"no microphone was found.*--enroll"):
        Microphone()
    plug_in(DEVICES, 1, refusal=OSError(-9985, "Device unavailable"))
    with (
        Microphone() as microphone,
        pytest.raises(MicrophoneError, match=r"Headset' cannot be opened \(Device un"),
    ):
        microphone.record(1.0)
    monkeypatch.setattr(recording, "PATIENCE_S", 0.05)
    audio = plug_in(DEVICES, 1, sound=np.zeros(1600, np.int16))
    with Microphone() as microphone, pytest.raises(MicrophoneError, match="gives no sound"):
        microphone.record(1.0)
    assert audio.opened["closed"]


@pytest.mark.parametrize("trouble", [None, OSError("libportaudio.so.2: cannot open shared object file")])
def test_without_pyaudio_the_sentence_says_what_to_install(monkeypatch, trouble, tmp_path):
    if trouble is None:
        monkeypatch.setitem(sys.modules, "pyaudio", None)
    else:
        (tmp_path / "pyaudio.py").write_text(f"raise {trouble!r}", encoding="utf-8")
        monkeypatch.delitem(sys.modules, "pyaudio", raising=False)
        monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingPackageError, match=r"pip install pyaudio.*portaudio19-dev.*--recognise FILE"):
        Microphone()


# ---------------------------------------------------------------- a virtual microphone

ROOT = Path(__file__).parents[2]
ALSA_TO_PULSE = 'pcm.!default { type pulse device "voice.monitor" }\nctl.!default { type pulse }\n'


def missing() -> str | None:
    """What the test with a virtual microphone lacks on this machine."""
    if sys.platform != "linux":
        return "PulseAudio, which is Linux's"
    for program in ("pulseaudio", "paplay", "pactl"):
        if shutil.which(program) is None:
            return program
    if not list(Path("/usr/lib").glob("**/alsa-lib/libasound_module_pcm_pulse.so")):
        return "libasound2-plugins"
    done = subprocess.run([sys.executable, "-c", "import pyaudio"], capture_output=True)
    return "PyAudio (pip install pyaudio, which needs portaudio19-dev)" if done.returncode else None


@pytest.fixture
def virtual_microphone(tmp_path) -> Iterator[dict[str, str]]:
    """The environment in which PortAudio's default device hears what `paplay --device=voice` plays."""
    lacking = missing()
    if lacking is not None:
        pytest.skip(f"needs a system package: {lacking}")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / ".asoundrc").write_text(ALSA_TO_PULSE, encoding="utf-8")
    socket = home / "socket"  # not "pulse": the server has a folder of that name
    environment = {**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PULSE_SERVER": f"unix:{socket}"}
    arguments = ["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1"]
    modules = [
        f"module-null-sink sink_name=voice rate={RATE} channels=1 format=s16le",
        f"module-native-protocol-unix auth-anonymous=1 socket={socket}",
    ]
    command = ["pulseaudio", *arguments, *(f"--load={module}" for module in modules)]
    with open(home / "log", "wb") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as server:
        try:
            deadline = time.monotonic() + 30
            while subprocess.run(["pactl", "info"], env=environment, capture_output=True).returncode:
                assert time.monotonic() < deadline, (home / "log").read_text(encoding="utf-8")
                time.sleep(0.1)
            yield environment
        finally:
            server.terminate()


SCRIPT = [sys.executable, str(ROOT / "infer_recognition.py")]


@pytest.mark.slow
def test_the_menu_with_a_virtual_microphone(virtual_microphone, make_model, make_voice, tmp_path):
    """Enrolled while her recording is played, recognised while another of hers is, and nobody when all is quiet."""
    model = make_model({"threshold": 0.9})
    script = [*SCRIPT, "--model_path", str(model), "--audio_db_path", str(tmp_path / "db"), "--device", "cpu"]
    sounds = []
    for seed in (0, 1):
        sounds.append(tmp_path / f"{seed}.wav")
        soundfile.write(sounds[-1], np.tile(make_voice(3.0, seed=seed), 40), RATE)

    def run(answers: str, played: Path | None) -> str:
        player = None
        if played is not None:
            player = subprocess.Popen(["paplay", "--device=voice", str(played)], env=virtual_microphone)
        try:
            done = subprocess.run(
                [*script, "--record_seconds", "2"],
                input=answers, env=virtual_microphone, capture_output=True, encoding="utf-8", timeout=120,
            )  # fmt: skip
        finally:
            if player is not None:
                player.terminate()
                player.wait()
        assert done.returncode == 0, done.stderr
        assert "ALSA lib" not in done.stderr
        return done.stdout + done.stderr

    enrolled = run("0\nanna\n\nq\n", sounds[0])
    assert "microphone: default, 16000 Hz" in enrolled
    assert "anna is enrolled (recordings: 1)" in enrolled
    recognised = run("1\n\nq\n", sounds[1])
    assert "anna\n  score 0.9" in recognised
    assert "nobody was recognised" in run("1\n\nq\n", None)

    listed = subprocess.run([*SCRIPT, "--list_devices"], env=virtual_microphone, capture_output=True, encoding="utf-8")
    assert "default (44100 Hz), the default\n" in listed.stdout


@pytest.mark.slow
def test_what_is_recorded_is_what_was_played(virtual_microphone, make_voice, tmp_path):
    played = tmp_path / "played.wav"
    soundfile.write(played, np.tile(make_voice(3.0), 10) + 0.01, RATE, subtype="PCM_16")
    recorded = tmp_path / "recorded.npy"
    code = (
        "import numpy, sys; from mvector.audio.microphone import Microphone\n"
        "with Microphone() as microphone: numpy.save(sys.argv[1], microphone.record(1.0))"
    )
    with subprocess.Popen(["paplay", "--device=voice", str(played)], env=virtual_microphone) as player:
        time.sleep(1.0)
        subprocess.run([sys.executable, "-c", code, str(recorded)], env=virtual_microphone, check=True, cwd=ROOT)
        player.terminate()
    heard, (source, _) = np.load(recorded), soundfile.read(played, dtype="float32")
    size = len(source) + len(heard)
    match = np.fft.irfft(np.fft.rfft(source, size) * np.conj(np.fft.rfft(heard, size)), size)[
        : len(source) - len(heard)
    ]
    start = int(match.argmax())
    np.testing.assert_allclose(heard, source[start : start + len(heard)], atol=1e-4)
