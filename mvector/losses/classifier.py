"""The layer that tells the training speakers apart; it is dropped after training."""

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.errors import ConfigError


class DenseBlock(nn.Module):
    """Linear layer without bias and batch norm: [B, C_in] -> [B, C_out]."""

    def __init__(self, in_size: int, out_size: int):
        super().__init__()
        self.linear = nn.Conv1d(in_size, out_size, 1, bias=False)  # stored as a convolution in mvector checkpoints
        self.nonlinear = nn.Sequential(OrderedDict(batchnorm=nn.BatchNorm1d(out_size)))

    def forward(self, x: Tensor) -> Tensor:
        return self.nonlinear(functional.linear(x, self.linear.weight.squeeze(2)))


class SpeakerClassifier(nn.Module):
    """Embeddings [B, E] -> logits [B, S · K]: one per speaker, or K side by side per speaker for sub-centre losses.

    `classifier_type` "Cosine" gives cosines in [-1, 1] with the rows of `weight` [S · K, E], as margin losses expect,
    computed in float32 whatever autocast says; "Linear" gives an affine map for CELoss. `num_blocks` linear layers
    of `inter_dim` outputs with batch norm come before it.
    """

    def __init__(
        self,
        input_size: int,
        num_speakers: int,
        classifier_type: str = "Cosine",
        num_blocks: int = 0,
        inter_dim: int = 512,
        K: int = 1,
    ):
        super().__init__()
        if num_speakers < 1:
            raise ConfigError(f"a classifier needs at least one speaker, num_speakers is {num_speakers}.")
        self.classifier_type = classifier_type
        self.K = K
        sizes = [input_size] + [inter_dim] * num_blocks
        self.blocks = nn.ModuleList(DenseBlock(a, b) for a, b in pairwise(sizes))
        if classifier_type == "Cosine":
            self.weight = nn.Parameter(torch.empty(num_speakers * K, sizes[-1]))
            nn.init.xavier_uniform_(self.weight)
        elif classifier_type == "Linear":
            if K != 1:
                raise ConfigError(f"classifier_type Linear has one output per speaker, K must be 1, found {K}.")
            self.output = nn.Linear(sizes[-1], num_speakers)
        else:
            raise ConfigError(f"classifier_type must be 'Cosine' or 'Linear', found {classifier_type!r}.")

    def forward(self, embeddings: Tensor) -> Tensor:
        x = embeddings
        for block in self.blocks:
            x = block(x)
        if self.classifier_type == "Linear":
            return self.output(x)
        with torch.autocast(x.device.type, enabled=False):
            return functional.linear(functional.normalize(x.float()), functional.normalize(self.weight.float()))
