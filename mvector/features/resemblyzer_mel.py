"""What Resemblyzer feeds its LSTM with: mel energies without logarithm, cut to fit its windows."""

from typing import Any

import torch
from torch import Tensor

from mvector.features.base import Count, extend
from mvector.features.spectral import MelSpectrogram
from mvector.registry import FEATURES

WINDOW_FRAMES = 160  # of the network's windows
WINDOW_SHIFT = 77  # 1.3 windows a second
LEAST_OF_LAST_WINDOW = 0.75  # a last window of which the recording fills less is left out, unless it is the only one
LEVEL_DBFS = -30.0
SILENCE = 1e-20  # mean square under which a waveform is not raised any further


@FEATURES.register("ResemblyzerMel")
class ResemblyzerMel(MelSpectrogram):
    """40 Slaney mel energies of 16 kHz waveforms, with the level and the frames of Resemblyzer's `embed_utterance`.

    forward(waveforms [B, T], lengths [B] or None) -> (features [B, F, 40], frames [B]); F = 160 + 77 n.
    A waveform under −30 dBFS (RMS) is raised to that; a louder one stays as it is. Zeros are appended, or frames left
    out at the end, so that windows of 160 frames, one every 77, fit exactly: :class:`mvector.models.ge2e.GE2E` takes
    them. Resemblyzer also cuts out silence (WebRTC's detector) before all this; here that is left to the caller.
    """

    def __init__(self) -> None:
        super().__init__(n_fft=400, hop_length=160, n_mels=40, pad_mode="constant", norm="slaney", mel_scale="slaney")

    def frame_count(self, samples: Count) -> Count:
        enough = int(LEAST_OF_LAST_WINDOW * WINDOW_FRAMES * self.shift_samples)
        more: Any = (samples - enough) // (WINDOW_SHIFT * self.shift_samples)  # windows after the first
        # A graph that is being exported asks with a whole number instead of a tensor.
        more = more.clamp_min(0) if isinstance(more, Tensor) else torch.sym_max(more, 0)
        return WINDOW_FRAMES + WINDOW_SHIFT * more

    def _signal(self, waveforms: Tensor, lengths: Tensor | None) -> Tensor:
        ends = self.n_fft // 2
        signal = extend(waveforms, lengths, ends, ends + WINDOW_FRAMES * self.shift_samples, "constant")
        samples = waveforms.shape[1] if lengths is None else lengths[:, None]
        mean_square = signal.square().sum(dim=1, keepdim=True) / samples
        gain = (10.0 ** (LEVEL_DBFS / 10.0) / mean_square.clamp_min(SILENCE)).sqrt()
        return signal * gain.clamp_min(1.0)
