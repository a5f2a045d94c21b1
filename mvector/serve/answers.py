"""What the service answers, with an example of each for the OpenAPI document (FastAPI leaves null out of them)."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

WARNING = "the recording: only 1.4 s of speech was found in it; scores of less than 2 s are less reliable"


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [values]})


class Failure(BaseModel):
    """Every answer with a status of 400 or above."""

    error: str = Field(description="What went wrong, one word for programs")
    message: str = Field(description="The same as a sentence in English")
    model_config = _example(error="no_speech", message="the recording: no speech was found in it; record again")


class Enrolled(BaseModel):
    """The recordings are enrolled, all of them."""

    name: str
    utterances: int = Field(description="How many recordings the person has now")
    warnings: list[str] = Field(description="What makes these recordings less good for recognising")
    spoofing_scores: list[float | None] = Field(description="Of the spoofing detector, for each recording")
    model_config = _example(name="贝拉", utterances=3, warnings=[], spoofing_scores=[0.93])


class Scored(BaseModel):
    score: float | None = Field(
        description="The more, the more alike; a cosine from -1 to 1, or after score normalisation"
    )
    threshold: float | None = Field(
        description="The score above which it counts as one person; null: the model has none"
    )
    probability: float | None = Field(
        description="Of one person, where it was one half before anything was heard; null: the model is not calibrated"
    )
    warnings: list[str] = Field(description="What makes the answer less reliable")


class Compared(Scored):
    """Whether two recordings have one speaker."""

    same: bool | None = Field(description="Whether the score is above the threshold; null without one")
    spoofing_scores: list[float | None]
    model_config = _example(
        score=0.7312, threshold=0.2811, probability=0.9987, same=True, warnings=[], spoofing_scores=[0.93, 0.88]
    )


class Verified(Scored):
    """Whether the recording is of the person it is said to be of."""

    name: str
    same: bool | None = Field(description="Whether it is this person; null where the model has no threshold")
    reason: str | None = Field(description="Why not, where it is not")
    spoofing_score: float | None
    model_config = _example(
        name="贝拉", score=0.1213, threshold=0.2811, probability=0.0311, same=False, reason="below_threshold",
        warnings=[WARNING], spoofing_score=0.93,
    )  # fmt: skip


class Identified(Scored):
    """Who of the enrolled people it is, or nobody of them."""

    name: str | None = Field(description="null: nobody who is enrolled, see reason")
    margin: float | None = Field(description="The score less that of the second best person; null with one person")
    reason: str | None = Field(description="Why nobody was recognised")
    spoofing_score: float | None
    model_config = _example(
        name="贝拉", score=0.7312, threshold=0.2811, probability=0.9871, margin=0.4502, warnings=[],
        spoofing_score=0.93,
    )  # fmt: skip


class Embedded(BaseModel):
    """The embedding of a recording, of length 1: the dot product of two is their cosine similarity."""

    embedding: list[float]
    model: str = Field(description="Fingerprint of the model; embeddings of two models must not be compared")
    duration_s: float
    warnings: list[str]
    spoofing_score: float | None
    model_config = _example(
        embedding=[0.0612, -0.1043, 0.0087], model="9f8e4a5d0c1b2a3948576a6b7c8d9e0f", duration_s=3.2, warnings=[],
        spoofing_score=0.93,
    )  # fmt: skip


class PersonEntry(BaseModel):
    name: str
    utterances: int
    added_at: datetime = Field(description="UTC")


class People(BaseModel):
    """A page of the enrolled people, sorted by name."""

    people: list[PersonEntry]
    count: int = Field(description="How many people there are in all")
    model_config = _example(people=[{"name": "anna", "utterances": 2, "added_at": "2026-11-21T14:00:00Z"}], count=1)


class Removed(BaseModel):
    """Everything about the person is deleted."""

    name: str
    model_config = _example(name="anna")


class Health(BaseModel):
    status: str
    model_config = _example(status="ready")


class About(BaseModel):
    """What a client has to know."""

    version: str
    model: str = Field(description="Fingerprint of the model")
    threshold: float | None
    keys: bool = Field(description="Whether a key is needed")
    keep_audio: bool = Field(description="Whether recordings of enrolled people are kept")
    max_duration_s: float
    max_body_bytes: int
    synthetic: str | None = Field(description="A warning where the model was trained on synthetic voices")
    model_config = _example(
        version="2.0.0", model="9f8e4a5d0c1b2a3948576a6b7c8d9e0f", threshold=0.2811, keys=True, keep_audio=False,
        max_duration_s=60.0, max_body_bytes=16777216, synthetic="trained on synthetic voices",
    )  # fmt: skip
