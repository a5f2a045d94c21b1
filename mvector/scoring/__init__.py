"""Embeddings → scores → log-likelihood ratios. NumPy in, NumPy out."""

from mvector.scoring.calibration import Calibration
from mvector.scoring.cohort import Cohort
from mvector.scoring.compensation import compensation
from mvector.scoring.cosine import cosine_scores, length_normalize, subtract_mean
from mvector.scoring.enrollment import ENROLLMENTS, check_enrollment, mean_of_members, voice_vectors
from mvector.scoring.lda import Lda
from mvector.scoring.normalization import NORMALIZATIONS, ScoreNormalization, cohort_statistics
from mvector.scoring.plda import Plda
from mvector.scoring.quality import QualityCalibration, recording_qualities, trial_qualities
from mvector.scoring.trial_scores import TrialScores, score_trials

__all__ = [
    "ENROLLMENTS",
    "NORMALIZATIONS",
    "Calibration",
    "Cohort",
    "Lda",
    "Plda",
    "QualityCalibration",
    "ScoreNormalization",
    "TrialScores",
    "check_enrollment",
    "cohort_statistics",
    "compensation",
    "cosine_scores",
    "length_normalize",
    "mean_of_members",
    "recording_qualities",
    "score_trials",
    "subtract_mean",
    "trial_qualities",
    "voice_vectors",
]
