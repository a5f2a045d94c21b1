"""Waveform augmentation: speed, rooms and recording channels, noise, level and volume.

Two halves, so that one definition of each step serves a CPU and a GPU:

* What is random, and what has to be read, belongs to loader processes. :class:`WaveformDraws` draws with the NumPy
  generator of the example (a function of seed, epoch and utterance, never of process or batch), reads the seconds of
  speech, noise and room that are needed, and notes the rest as a record of numbers: a :class:`Material`.
* What is computed is an `nn.Module`, :class:`WaveformAugment`, from a batch of materials to waveforms [B, T]. Nothing
  in it is random, and a row of a batch is what that row alone would be. Training on a GPU it runs there, on the whole
  batch; on a CPU it runs in the loader processes, one utterance at a time, which stays in cache.

So that little travels: several noises are summed when they are read (their ratios are relative to the speech, whatever
its level), and a room's response is sent as its second of samples. On a CPU its spectrum is used, and kept.
"""

from mvector.audio.augmentation.noise import NoiseCategory, Noises, add_noise
from mvector.audio.augmentation.rooms import RoomAndChannel, RoomResponses
from mvector.audio.augmentation.sounds import Recording, Recordings, list_sounds, read_stretch, tile
from mvector.audio.augmentation.speed import SPEEDS, ChangeSpeed, source_samples
from mvector.audio.augmentation.waveform import ChannelRange, Material, WaveformAugment, WaveformDraws

__all__ = [
    "SPEEDS",
    "ChangeSpeed",
    "ChannelRange",
    "Material",
    "NoiseCategory",
    "Noises",
    "Recording",
    "Recordings",
    "RoomAndChannel",
    "RoomResponses",
    "WaveformAugment",
    "WaveformDraws",
    "add_noise",
    "list_sounds",
    "read_stretch",
    "source_samples",
    "tile",
]
