"""Everything that happens to a waveform, as one module, and the record of draws that tells it what."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mvector.audio.augmentation.noise import Noises, add_noise, rms
from mvector.audio.augmentation.rooms import CHANNEL_ANCHORS_HZ, RoomAndChannel, RoomResponses
from mvector.audio.augmentation.sounds import Recordings
from mvector.audio.augmentation.speed import SPEEDS, ChangeSpeed
from mvector.errors import AudioError

# Columns of a record of draws: numbers, one row for each utterance.
SPEED, ROOM, CHANNEL, VOLUME_DB = range(4)  # index of the speed; 1 with a room, a channel; gain in decibels
CHANNEL_CURVE = slice(4, 6 + len(CHANNEL_ANCHORS_HZ))  # lower and upper limit in hertz, gains in decibels
COLUMNS = CHANNEL_CURVE.stop


@dataclass(frozen=True)
class ChannelRange:
    """What recording channels are drawn from, uniformly."""

    prob: float
    min_bandwidth_hz: float = 3000.0
    max_bandwidth_hz: float = 8000.0
    max_low_cut_hz: float = 300.0
    max_tilt_db: float = 10.0


@dataclass
class Material:
    """What the waveform of one example, or with a first dimension B of a batch, is made of.

    sound     [S] float32: the recording, as much as the slowest speed needs; behind it anything
    draws     [COLUMNS] float32
    noise     [T] in units of the speech's RMS; None: no noise
    response  samples [R] or spectrum [F] of a room; None: no room. In a batch one row for each example with a room
    """

    sound: Tensor
    draws: Tensor
    noise: Tensor | None = None
    response: Tensor | None = None

    def pin_memory(self) -> "Material":
        """In page-locked memory, as the loader asks for it: a GPU copies it from there while it computes."""
        return self._each(Tensor.pin_memory)

    def to(self, device: torch.device) -> "Material":
        """On a device, but for the draws, which are looked at on the CPU."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def _each(self, function: Callable[[Tensor], Tensor]) -> "Material":
        noise = None if self.noise is None else function(self.noise)
        response = None if self.response is None else function(self.response)
        return Material(function(self.sound), self.draws, noise, response)


@dataclass
class WaveformDraws:
    """The random part: draws records and reads what they need, one utterance at a time, in a loader process."""

    speed_prob: float = 0.0
    speeds: tuple[float, ...] = SPEEDS
    responses: RoomResponses | None = None
    room_prob: float = 0.0
    channel: ChannelRange | None = None
    noises: Noises | None = None
    volume_db: tuple[float, float] = (0.0, 0.0)
    volume_prob: float = 0.0

    def speed_class(self, rng: np.random.Generator) -> int:
        """Drawn by itself and first, because it decides how much of the recording is read."""
        return int(rng.integers(len(self.speeds))) if self.speed_prob and rng.random() < self.speed_prob else 0

    def material(
        self,
        sound: np.ndarray,
        speed_class: int,
        samples: int,
        rng: np.random.Generator,
        skipped: list[tuple[str, str]],
        spectrum_size: int | None = None,
        training: Recordings | None = None,
        label: int = -1,
    ) -> Material:
        """Everything but the speed. A room's response comes as a spectrum of `spectrum_size`, or as samples. A noise or
        room that cannot be read is reported in `skipped` and left out."""
        draws = np.zeros(COLUMNS, np.float32)
        draws[SPEED] = speed_class
        material = Material(torch.from_numpy(sound), torch.from_numpy(draws))
        if self.responses is not None and rng.random() < self.room_prob:
            index = int(rng.integers(len(self.responses)))
            try:
                if spectrum_size is None:
                    material.response = self.responses.samples(index)
                else:
                    material.response = self.responses.spectrum(index, spectrum_size)
                draws[ROOM] = 1
            except AudioError as error:
                path = self.responses.recordings.path(index)
                skipped.append((path, f"{error} (a room's response; the utterance was used without it)"))
        if self.channel is not None and rng.random() < self.channel.prob:
            draws[CHANNEL] = 1
            draws[CHANNEL_CURVE] = (
                rng.uniform(0.0, self.channel.max_low_cut_hz),
                rng.uniform(self.channel.min_bandwidth_hz, self.channel.max_bandwidth_hz),
                *(rng.uniform(-0.5, 0.5, len(CHANNEL_ANCHORS_HZ)) * self.channel.max_tilt_db),
            )
        if self.noises is not None:
            noise = self.noises(samples, rng, skipped, training, label)
            material.noise = None if noise is None else torch.from_numpy(noise)
        if self.volume_prob and rng.random() < self.volume_prob:
            draws[VOLUME_DB] = rng.uniform(*self.volume_db)
        return material


class WaveformAugment(nn.Module):
    """Speed, room and channel, noise, level and volume, in this order, as the draws say; nothing is random in here.

    forward(material of B examples) -> waveforms [B, samples] float32. The draws lie on the CPU, the rest on the
    module's device. A row of a batch is what that row alone would be.
    target_db: level that every waveform is brought to (RMS, dB full scale), after noise and rooms, as a recording that
    holds them is levelled, and before the volume; None: left as it is.
    speeds: those that the draws count through
    """

    def __init__(
        self,
        samples: int,
        sample_rate_hz: int,
        target_db: float | None = None,
        speeds: Sequence[float] = SPEEDS,
    ):
        super().__init__()
        self.samples, self.target_db = samples, target_db
        self.speed = ChangeSpeed(samples, speeds)
        self.room_and_channel = RoomAndChannel(samples, sample_rate_hz)

    @torch.no_grad()
    def forward(self, material: Material) -> Tensor:
        draws = material.draws.numpy()
        with torch.autocast(material.sound.device.type, enabled=False):
            sound = self.speed(material.sound, draws[:, SPEED].astype(np.int64))
            sound = self.room_and_channel(
                sound, draws[:, ROOM] > 0, draws[:, CHANNEL] > 0, draws[:, CHANNEL_CURVE], material.response
            )
            if material.noise is not None:
                sound = add_noise(sound, material.noise)
            return self._level(sound, draws[:, VOLUME_DB])

    def _level(self, sound: Tensor, volume_db: np.ndarray) -> Tensor:
        if self.target_db is None and not volume_db.any():
            return sound
        factors = np.float32(10) ** (((self.target_db or 0.0) + volume_db) / 20)
        gain = torch.from_numpy(factors[:, None]).to(sound.device, non_blocking=True)
        if self.target_db is not None:
            level = rms(sound)
            gain = torch.where(level > 0, gain / level, gain)
        return sound * gain
