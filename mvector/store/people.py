"""What the store of enrolled voices answers with: people, their utterances, matches."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple


@dataclass(frozen=True)
class Person:
    """Somebody who is enrolled. name: as it was given, in Unicode's NFC form. added_at: UTC."""

    name: str
    utterances: int
    added_at: datetime


@dataclass(frozen=True)
class StoredUtterance:
    """One enrolled recording of a person. quality: what `add` was given. has_audio: whether its recording is kept."""

    utterance_id: int
    added_at: datetime
    has_audio: bool
    quality: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class AddedUtterance:
    """What enrolling did. utterances: how many the person has now.

    warning: a sentence where this utterance does not sound like the person's earlier ones; it is enrolled all the same.
    """

    name: str
    utterance_id: int
    warning: str | None
    utterances: int


class Match(NamedTuple):
    """A person and the cosine similarity of the searched embedding with the mean of the person's utterances."""

    name: str
    score: float
