"""Pooling by residuals to learned centres: NetVLAD, and GhostVLAD with centres that only take frames away."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.precision import at_least_float32
from mvector.registry import POOLINGS


class ResidualPooling(nn.Module):
    """What NetVLAD and GhostVLAD share: forward(x [B, C, F]) -> [B, clusters · C] of unit length.

    A softmax over `clusters` and `ghost_clusters` weighs every frame; only the clusters have centres.
    """

    def __init__(self, channels: int, clusters: int, ghost_clusters: int):
        super().__init__()
        if clusters < 1 or ghost_clusters < 0:
            raise ConfigError(
                f"{type(self).__name__} needs at least one cluster and no negative number of ghost clusters, "
                f"found {clusters} and {ghost_clusters}."
            )
        self.clusters = clusters
        self.output_size = clusters * channels
        self.assignment = nn.Linear(channels, clusters + ghost_clusters)
        self.centres = nn.Parameter(torch.empty(clusters, channels))
        # Centres far apart from the start (as in VGG-Speaker-Recognition): equal ones would stay equal.
        nn.init.orthogonal_(self.centres)
        nn.init.orthogonal_(self.assignment.weight)
        nn.init.zeros_(self.assignment.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = at_least_float32(x)
        with torch.autocast(x.device.type, enabled=False):
            weights = self.assignment(x.transpose(1, 2)).softmax(2)[:, :, : self.clusters]  # [B, F, K]
            sums = (x @ weights).transpose(1, 2)  # [B, K, C]
            residuals = sums - weights.sum(1).unsqueeze(2) * self.centres
            return functional.normalize(functional.normalize(residuals, dim=2).flatten(1), dim=1)


@POOLINGS.register("NetVLAD")
class NetVLAD(ResidualPooling):
    """Residuals to `clusters` learned centres, added up over frames: forward(x [B, C, F]) -> [B, clusters · C].

    Arandjelovic 2016, "NetVLAD", eq. 3 and 4: a softmax shares every frame out among the centres, each centre's sum of
    weighted residuals is brought to unit length (intra-normalisation), and then the whole vector. The result therefore
    does not grow with the number of frames.
    """

    def __init__(self, channels: int, clusters: int = 8):
        super().__init__(channels, clusters, 0)


@POOLINGS.register("GhostVLAD")
class GhostVLAD(ResidualPooling):
    """NetVLAD with `ghost_clusters` more clusters that are dropped: forward(x [B, C, F]) -> [B, clusters · C].

    Zhong 2018, "GhostVLAD for Set-based Face Recognition": the weight that a frame gives to a ghost is lost to the
    others, so that noise and silence can learn to go there. A ghost's residuals are never used, so it has no centre.
    """

    def __init__(self, channels: int, clusters: int = 8, ghost_clusters: int = 2):
        super().__init__(channels, clusters, ghost_clusters)
