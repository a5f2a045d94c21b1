"""How well scores tell speakers apart: EER, minDCF, confidence intervals (NumPy in, float out) and pictures."""

from mvector.metrics.confidence import confidence_intervals
from mvector.metrics.detection import count_trials, eer, error_rates, min_dcf

__all__ = ["confidence_intervals", "count_trials", "eer", "error_rates", "min_dcf"]
