"""The recurrent network of Deep Speaker."""

import torch
from torch import Tensor, nn

from mvector.models.layers import require_frames
from mvector.models.rescnn import HalvingConv
from mvector.precision import at_least_float32
from mvector.registry import BACKBONES

CHANNELS = 64


class GRULayers(nn.Module):
    """Stacked GRU layers: [B, F, C_in] -> [B, F, C_out], from a state of zeros.

    Parameters, keys and initial values of ``nn.GRU``, which itself cannot be compiled in one graph.
    """

    def __init__(self, in_channels: int, out_channels: int, layers: int):
        super().__init__()
        self.out_channels, self.layers = out_channels, layers
        for name, parameter in nn.GRU(in_channels, out_channels, layers).named_parameters():
            self.register_parameter(name, parameter)

    def forward(self, x: Tensor) -> Tensor:
        zeros = x.new_zeros(self.layers, x.shape[0], self.out_channels)
        has_biases, dropout, bidirectional, batch_first = True, 0.0, False, True
        weights: list[Tensor] = list(self.parameters())
        outputs, _ = torch.gru(
            x, zeros, weights, has_biases, self.layers, dropout, self.training, bidirectional, batch_first
        )
        return outputs


@BACKBONES.register("DeepSpeakerGRU")
class DeepSpeakerGRU(nn.Module):
    """GRU variant of Deep Speaker (Li 2017, "Deep Speaker: an End-to-End Neural Speaker Embedding System", table 2).

    forward(features [B, F, D]) -> embeddings [B, E], from one frame on: a convolution that halves bins and frames,
    three forward GRU layers, the mean over frames and a linear layer; the length normalisation that follows in the
    paper is left to the classifier and to cosine scoring.

    24,142,912 parameters with 80 bins and the defaults; 22,569,024 with the paper's 64 (23 million there), of which
    18,432 are the gates' biases, which the table does not count.

    `torch.export` unrolls recurrent layers for the example's length unless it runs within
    ``torch.export._patches.register_gru_while_loop_decomposition()``; so does `torch.onnx.export` of torch 2.13.
    """

    def __init__(self, input_size: int, embd_dim: int = 512, hidden_size: int = 1024):
        super().__init__()
        self.embd_dim = embd_dim
        self.min_frames = 1
        self.conv = HalvingConv(1, CHANNELS, input_size)
        self.gru = GRULayers(CHANNELS * ((input_size + 1) // 2), hidden_size, layers=3)
        self.affine = nn.Linear(hidden_size, embd_dim)

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        x = self.conv(features.transpose(1, 2).unsqueeze(1))  # [B, 64, D / 2, F / 2]
        x = x.permute(0, 3, 1, 2).flatten(2)
        # Hundreds of steps would add up the rounding of 16 bits.
        with torch.autocast(features.device.type, enabled=False):
            states = self.gru(at_least_float32(x))  # [B, F / 2, H]
        return self.affine(states.mean(1))
