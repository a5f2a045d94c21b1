"""Batch norm over several processes reaches every layer of every backbone."""

import pytest
import torch
from torch import nn

from mvector.registry import BACKBONES
from mvector.training.sync_batch_norm import SyncBatchNorm, synchronise_batch_norm
from tests.models.test_all_backbones import BINS, small


@pytest.mark.parametrize("name", BACKBONES.names())
def test_every_batch_norm_is_synchronised(name, monkeypatch):
    """No backbone goes round the layer and normalises with the batch of its own process alone."""
    network = small(name).train()
    layers = {layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)}
    synchronise_batch_norm(network)
    together = set()

    def forward_together(layer: SyncBatchNorm, x: torch.Tensor) -> torch.Tensor:
        together.add(layer)
        return nn.functional.batch_norm(x, None, None, layer.weight, layer.bias, True)

    monkeypatch.setattr("mvector.training.sync_batch_norm.world_size", lambda: 2)
    monkeypatch.setattr(SyncBatchNorm, "_forward_together", forward_together)
    with torch.no_grad():
        network(torch.randn(3, 200, BINS))
    assert together == layers
