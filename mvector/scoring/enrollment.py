"""How several utterances of one person become one enrolled voice.

mean         the mean of their unit-length embeddings, at unit length
scores       the test recording is scored against each of them, and the scores are averaged
concatenate  their audio is put end to end and embedded once; scoring then sees a voice of one embedding

An average of cosines is a product with one vector: (u_1·t + … + u_n·t) / n = ((u_1 + … + u_n) / n)·t. The way "scores"
is therefore the mean before it is brought to unit length, and costs no more than "mean".
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import MVectorError, nearest
from mvector.scoring.cosine import Floats, length_normalize

ENROLLMENTS = ("mean", "scores", "concatenate")


def check_enrollment(name: str) -> str:
    """`name` if it is one of ENROLLMENTS; otherwise MVectorError."""
    if name not in ENROLLMENTS:
        raise MVectorError(
            f"there is no way {name!r} to enroll several utterances; choose one of {', '.join(ENROLLMENTS)}."
            f"{nearest(name, ENROLLMENTS)}"
        )
    return name


def voice_vectors(embeddings: ArrayLike, rows: Sequence[tuple[int, ...]], enrollment: str = "mean") -> Floats:
    """Embeddings [U, E] → [N, E]: the vector whose product with a unit-length test embedding is the voice's score.

    `rows` are N tuples of rows, the utterances of each voice. Rows that are not finite are passed over; the result is
    NaN where all of a voice are. With "scores" the vectors of several utterances are shorter than 1. "concatenate"
    takes one embedding per voice, that of the joined audio.
    """
    check_enrollment(enrollment)
    if enrollment == "concatenate" and any(len(members) > 1 for members in rows):
        raise MVectorError(
            "enrollment by concatenation needs one embedding per voice, made of its utterances' joined audio; these "
            "voices have several. Embed the joined audio, or choose the enrollment mean or scores."
        )
    mean = mean_of_members(length_normalize(embeddings), rows)
    return mean if enrollment == "scores" else length_normalize(mean)


def mean_of_members(values: ArrayLike, rows: Sequence[tuple[int, ...]]) -> Floats:
    """Values [U, K] → [N, K]: for each of the N tuples of rows the mean of those of its rows that are finite, or NaN.

    The values may be embeddings, or the scores of U utterances against K others.
    """
    x = np.asarray(values)
    sizes = np.array([len(members) for members in rows], dtype=np.int64)
    if not len(rows) or not sizes.all():
        raise MVectorError("a voice needs at least one utterance; leave out the enrolled speakers that have none.")
    members = np.fromiter((row for voice in rows for row in voice), dtype=np.int64, count=int(sizes.sum()))
    chosen = x[members]
    finite = np.isfinite(chosen).all(axis=1)
    chosen[~finite] = 0
    first = np.cumsum(sizes) - sizes
    total = np.add.reduceat(chosen, first, axis=0)
    count = np.add.reduceat(finite.astype(np.int64), first)[:, None]
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / count.astype(total.dtype), np.nan).astype(total.dtype, copy=False)
