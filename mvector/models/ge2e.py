"""The LSTM d-vector of "Generalized End-to-End Loss", as published by Resemblyzer."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.models.layers import require_frames
from mvector.registry import BACKBONES


class LSTMLayers(nn.Module):
    """Stacked LSTM layers: [B, F, C_in] -> [B, F, C_out], from a state of zeros.

    Parameters, keys and initial values of ``nn.LSTM``, which itself cannot be compiled in one graph.
    """

    def __init__(self, in_channels: int, out_channels: int, layers: int):
        super().__init__()
        self.out_channels, self.layers = out_channels, layers
        for name, parameter in nn.LSTM(in_channels, out_channels, layers).named_parameters():
            self.register_parameter(name, parameter)

    def forward(self, x: Tensor) -> Tensor:
        zeros = x.new_zeros(self.layers, x.shape[0], self.out_channels)
        has_biases, dropout, bidirectional, batch_first = True, 0.0, False, True
        outputs, _, _ = torch.lstm(
            x,
            (zeros, zeros),
            list(self.parameters()),
            has_biases,
            self.layers,
            dropout,
            self.training,
            bidirectional,
            batch_first,
        )
        return outputs


@BACKBONES.register("GE2E")
class GE2E(nn.Module):
    """LSTM layers and a rectified linear layer (Wan 2018, "Generalized End-to-End Loss for Speaker Verification").

    forward(features [B, F, D]) -> embeddings [B, E] of unit length, from the last layer's output at the last frame; no
    entry is negative. With `window_frames` the embeddings of windows of so many frames, one every `window_shift`, are
    averaged and brought to unit length again; frames after the last whole window have no influence. One frame, or one
    window, is the least: fewer raise TooShortError.

    1,464,576 parameters with 80 bins and the defaults; 1,423,616 with the 40 of Resemblyzer, whose state-dict keys
    these are.
    """

    def __init__(
        self,
        input_size: int,
        embd_dim: int = 256,
        hidden_size: int = 256,
        layers: int = 3,
        window_frames: int | None = None,
        window_shift: int = 77,
    ):
        super().__init__()
        if window_shift < 1 or (window_frames is not None and window_frames < 1):
            raise ConfigError(
                "GE2E: window_frames and window_shift must be at least 1 frame, "
                f"found {window_frames} and {window_shift}."
            )
        self.embd_dim = embd_dim
        self.window_frames, self.window_shift = window_frames, window_shift
        self.min_frames = 1 if window_frames is None else window_frames
        self.lstm = LSTMLayers(input_size, hidden_size, layers)
        self.linear = nn.Linear(hidden_size, embd_dim)

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        # Hundreds of steps would add up the rounding of 16 bits.
        with torch.autocast(features.device.type, enabled=False):
            features = features.float() if features.dtype in (torch.bfloat16, torch.float16) else features
            if self.window_frames is None:
                return self._embed(features)
            starts = torch.arange(
                0, features.shape[1] - self.window_frames + 1, self.window_shift, device=features.device
            )
            within = torch.arange(self.window_frames, device=features.device)
            windows = features[:, starts[:, None] + within]  # [B, W, window, D]
            embeddings = self._embed(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])  # [B, W, E]
            return functional.normalize(embeddings.mean(1), dim=1)

    def _embed(self, frames: Tensor) -> Tensor:
        return functional.normalize(self.linear(self.lstm(frames)[:, -1]).relu(), dim=1)
