"""Rooms and recording channels: filters that multiply the spectrum of an utterance."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from mvector.audio.augmentation.sounds import Recordings
from mvector.audio.load import load_audio
from mvector.errors import AudioError

RESPONSE_S = 1.0  # a room's response is used up to here, or to the crop's length: by then it has died away
KEPT_RESPONSES = 64  # in each process, 12 MB of spectra for crops of 3 s
CHANNEL_ANCHORS_HZ = np.array([60.0, 150.0, 400.0, 1000.0, 2500.0, 5000.0, 8000.0])
BAND_EDGE_DB = -50.0  # what a band limit leaves outside the band: like a codec's, not a perfect zero


class RoomResponses:
    """Measured or simulated impulse responses, cut at their direct sound, so that nothing is delayed, and scaled to
    unit energy. What was read last is kept."""

    def __init__(self, paths: Sequence[str], sample_rate_hz: int):
        self.recordings = Recordings(paths)
        self.sample_rate_hz = sample_rate_hz

    def __len__(self) -> int:
        return len(self.recordings)

    def samples(self, index: int) -> Tensor:
        """[R] float32, R = RESPONSE_S. Raises AudioError for a response that cannot be read or is silent."""
        return _response(self.recordings.path(index), self.sample_rate_hz)

    def spectrum(self, index: int, size: int) -> Tensor:
        """[size // 2 + 1] complex64."""
        return _response_spectrum(self.recordings.path(index), self.sample_rate_hz, size)


@lru_cache(maxsize=KEPT_RESPONSES)
def _response(path: str, sample_rate_hz: int) -> Tensor:
    return _read_response(path, sample_rate_hz)


@lru_cache(maxsize=KEPT_RESPONSES)
def _response_spectrum(path: str, sample_rate_hz: int, size: int) -> Tensor:
    return rfft(_read_response(path, sample_rate_hz)[None], size)[0]


def _read_response(path: str, sample_rate_hz: int) -> Tensor:
    recorded = load_audio(path, sample_rate_hz, warnings=[])
    direct = int(np.argmax(np.abs(recorded)))
    response = np.zeros(round(RESPONSE_S * sample_rate_hz), np.float32)
    used = recorded[direct : direct + len(response)]
    energy = float(np.dot(used, used))
    if energy == 0:
        raise AudioError(f"{path}: the room response is silent; remove it from the folder")
    response[: len(used)] = used / np.float32(np.sqrt(energy))
    return torch.from_numpy(response)


class RoomAndChannel(nn.Module):
    """Convolves rows with a room's response and with the response of a recording channel.

    The channel is a band limit (microphone, telephone, codec) and a smooth equalisation through given gains at seven
    frequencies, with zero phase. Both multiply the same spectrum: together they cost one pair of transforms, and rows
    that get neither cost nothing.

    The convolution is circular, over `size` samples, the crop or a few more: its beginning lies under the tail of its
    end, as a crop from the middle of a reverberated recording lies under the tail of what came before. (Filled up with
    zeros instead, it would begin dry, and cost a third more.)

    forward(sound [B, T], in_room [B] bool, in_channel [B] bool, channel [B, 9], responses or None) -> [B, T]
    in_room, in_channel and channel are arrays of NumPy. channel: lower and upper band limit in hertz, seven gains in
    decibels. responses: for each row with in_room, in their order, samples [N, R] or spectra [N, size // 2 + 1].
    """

    def __init__(self, samples: int, sample_rate_hz: int):
        super().__init__()
        self.samples, self.size = samples, fast_size(samples)
        frequencies = np.fft.rfftfreq(self.size, 1 / sample_rate_hz)
        # Hat functions: gains at the anchors times these is linear interpolation over the logarithm of frequency.
        hats = [
            np.interp(np.log(frequencies + 20.0), np.log(CHANNEL_ANCHORS_HZ), unit)
            for unit in np.eye(len(CHANNEL_ANCHORS_HZ))
        ]
        self.register_buffer("frequencies", torch.from_numpy(frequencies.astype(np.float32)), persistent=False)
        self.register_buffer("hats", torch.from_numpy(np.array(hats, np.float32)), persistent=False)
        self.frequencies: Tensor
        self.hats: Tensor

    def forward(
        self,
        sound: Tensor,
        in_room: np.ndarray,
        in_channel: np.ndarray,
        channel: np.ndarray,
        responses: Tensor | None,
    ) -> Tensor:
        rows = np.flatnonzero(in_room | in_channel)
        if not len(rows):
            return sound
        everywhere = len(rows) == len(sound)
        there = torch.from_numpy(rows).to(sound.device, non_blocking=True)
        spectra = rfft(sound if everywhere else sound[there], self.size)
        if responses is not None:
            filters = responses if responses.is_complex() else rfft(responses, self.size)
            spectra = _multiply(spectra, np.flatnonzero(in_room[rows]), filters)
        with_channel = np.flatnonzero(in_channel[rows])
        if len(with_channel):
            chosen = torch.from_numpy(channel[rows[with_channel]])
            curves = self._curves(chosen.to(sound.device, non_blocking=True))
            spectra = _multiply(spectra, with_channel, curves)
        filtered = irfft(spectra, self.size)[:, : self.samples]
        return filtered if everywhere else sound.index_copy(0, there, filtered)

    def _curves(self, channel: Tensor) -> Tensor:
        """channel [N, 9] -> gains [N, size // 2 + 1] of the channels."""
        low, high = channel[:, 0:1], channel[:, 1:2]
        curve_db = channel[:, 2:] @ self.hats
        above = ((self.frequencies - high) / (0.1 * high)).clamp(0.0, 1.0)
        below = ((low - self.frequencies) / low.clamp_min(1e-3)).clamp(0.0, 1.0)
        return 10 ** ((curve_db + BAND_EDGE_DB * (above + below)) / 20)


def _multiply(spectra: Tensor, rows: np.ndarray, filters: Tensor) -> Tensor:
    """`spectra` with these rows multiplied by the `filters`, which are as many."""
    if len(rows) == len(spectra):
        return spectra * filters
    there = torch.from_numpy(rows).to(spectra.device, non_blocking=True)
    return spectra.index_copy(0, there, spectra[there] * filters)


def rfft(sound: Tensor, size: int) -> Tensor:
    """Spectra [B, size // 2 + 1] complex64 of rows [B, T] with zeros to `size`.

    On a CPU by NumPy, whose transform of this length takes half the time of torch's.
    """
    if sound.device.type != "cpu":
        return torch.fft.rfft(sound, size)
    return torch.from_numpy(np.fft.rfft(sound.numpy(), size).astype(np.complex64, copy=False))


def irfft(spectra: Tensor, size: int) -> Tensor:
    if spectra.device.type != "cpu":
        return torch.fft.irfft(spectra, size)
    return torch.from_numpy(np.fft.irfft(spectra.numpy(), size).astype(np.float32, copy=False))


@lru_cache(maxsize=64)
def fast_size(samples: int) -> int:
    """The smallest 2^a 3^b 5^c that is at least `samples` and even."""
    best = 1 << (samples - 1).bit_length()
    power_of_five = 1
    while power_of_five < best:
        product = power_of_five
        while product < best:
            doubled = product * 2
            while doubled < samples:
                doubled *= 2
            best = min(best, doubled)
            product *= 3
        power_of_five *= 5
    return best
