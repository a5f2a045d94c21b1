"""Enrolling people and recognising them: what `MVectorPredictor` answers with, and what it is made of."""

from mvector.recognition.answer import Answer, Reason, Recognition, Registration, Verification
from mvector.recognition.hearing import Heard, Quality, hear
from mvector.recognition.recogniser import Recogniser

__all__ = [
    "Answer",
    "Heard",
    "Quality",
    "Reason",
    "Recogniser",
    "Recognition",
    "Registration",
    "Verification",
    "hear",
]
