"""Compensation: a linear map that takes out of embeddings what they say beside the voice.

A network that learned from several corpora has learned their microphones and rooms as well, and takes people it never
heard for more typical of their corpus than they are: two strangers of one corpus come out too much alike.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import MVectorError
from mvector.scoring.cosine import length_normalize
from mvector.scoring.lda import Matrix, SpeakerStatistics

NO_DIFFERENCE = 1e-6  # of the corpora's means, for embeddings of unit length


def compensation(
    embeddings: ArrayLike, speakers: Sequence[Any] | NDArray[Any], corpora: Sequence[Any] | NDArray[Any]
) -> Matrix:
    """A symmetric matrix [E, E] for `embeddings @ matrix`, from training embeddings [U, E], speaker and corpus of each.

    First the directions go in which the corpora's means lie apart (inter-dataset variability compensation; Aronowitz
    2014, "Inter dataset variability compensation for speaker recognition"). In those that remain, the ones in which
    the recordings of one speaker differ most shrink (within-class covariance normalisation; Hatch 2006,
    "Within-class covariance normalization for SVM-based speaker recognition"), by

        (W / mean variance + I)^(-1/2)    with W the within-speaker covariance of embeddings of unit length,

    the identity standing for what is not known from so few recordings. A corpus counts by the mean of its speakers'
    means. Rows that are not finite are passed over; raises MVectorError where there are too few for E dimensions.
    """
    x = np.asarray(embeddings, dtype=np.float64)
    if x.ndim != 2 or not len(x) == len(speakers) == len(corpora):
        raise MVectorError(
            f"compensation needs embeddings [U, E] with a speaker and a corpus for each, found shape {x.shape}, "
            f"{len(speakers)} speakers and {len(corpora)} corpora."
        )
    finite = np.isfinite(x).all(axis=1)
    x, names, places = x[finite], np.asarray(speakers)[finite], np.asarray(corpora)[finite]
    means = SpeakerStatistics.of(length_normalize(x), names).means
    corpus_of_speaker = places[np.unique(names, return_index=True)[1]]
    of_corpora = np.stack([means[corpus_of_speaker == corpus].mean(axis=0) for corpus in np.unique(corpus_of_speaker)])
    _, sizes, directions = np.linalg.svd(of_corpora - of_corpora.mean(axis=0), full_matrices=False)
    apart = directions[sizes > NO_DIFFERENCE]
    projection = np.eye(x.shape[1]) - apart.T @ apart

    within = SpeakerStatistics.of(length_normalize(x @ projection), names).within
    variances, axes = np.linalg.eigh(within / np.trace(within) * len(within))
    return (axes / np.sqrt(variances + 1)) @ axes.T @ projection
