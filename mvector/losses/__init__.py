"""Losses, the classifier they work on, and the margin's schedule. See :data:`mvector.registry.LOSSES` for the names.

A loss is a torch.nn.Module, forward(logits [B, S], labels [B]) -> scalar; its parameters are trained, stored and
resumed with the network's. What else it is or wants, it says itself, and what it does not say is the ordinary case:

    margin, update(margin)        it has a margin, which a margin scheduler may set
    K = 1                         it takes K logits per speaker, side by side
    needs_cosines = False         the logits must be cosines (classifier_type Cosine)
    needs_embeddings = False      it is called as forward(logits, labels, embeddings [B, E])
    needs_pk_batches = False      a batch must hold several utterances of a speaker (is_use_pksampler)
    trains_classifier = True      False: it is given None for logits, there is no classifier, and
                                  accuracy(embeddings, labels) -> scalar in [0, 1] takes the place of counting logits
"""

from mvector.losses.aam import AAMLoss
from mvector.losses.am import AMLoss
from mvector.losses.arm import ARMLoss
from mvector.losses.ce import CELoss
from mvector.losses.circle import CircleLoss
from mvector.losses.classifier import SpeakerClassifier
from mvector.losses.ge2e import GE2ELoss
from mvector.losses.margin_schedule import MarginScheduler
from mvector.losses.prototypical import PrototypicalLoss
from mvector.losses.sphereface2 import SphereFace2
from mvector.losses.sub_center import SubCenterLoss
from mvector.losses.triplet_angular_margin import TripletAngularMarginLoss

__all__ = [
    "AAMLoss",
    "AMLoss",
    "ARMLoss",
    "CELoss",
    "CircleLoss",
    "GE2ELoss",
    "MarginScheduler",
    "PrototypicalLoss",
    "SpeakerClassifier",
    "SphereFace2",
    "SubCenterLoss",
    "TripletAngularMarginLoss",
]
