"""Backbones: features [B, F, D] become embeddings [B, E]. See :data:`mvector.registry.BACKBONES` for the names."""

from mvector.models.campplus import CAMPPlus
from mvector.models.ecapa_tdnn import EcapaTdnn

__all__ = ["CAMPPlus", "EcapaTdnn"]
