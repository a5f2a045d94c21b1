"""Waveform → features: batched torch modules that run on any device."""

from mvector.features.featurizer import AudioFeaturizer

__all__ = ["AudioFeaturizer"]
