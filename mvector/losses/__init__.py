"""Losses on the logits of a speaker classifier. See :data:`mvector.registry.LOSSES` for the names."""

from mvector.losses.aam import AAMLoss
from mvector.losses.ce import CELoss
from mvector.losses.classifier import SpeakerClassifier
from mvector.losses.margin_schedule import MarginScheduler

__all__ = ["AAMLoss", "CELoss", "MarginScheduler", "SpeakerClassifier"]
