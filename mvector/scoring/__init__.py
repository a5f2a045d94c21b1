"""Embeddings → scores. NumPy in, NumPy out."""

from mvector.scoring.cosine import cosine_scores, length_normalize
from mvector.scoring.trial_scores import TrialScores, score_trials

__all__ = ["TrialScores", "cosine_scores", "length_normalize", "score_trials"]
