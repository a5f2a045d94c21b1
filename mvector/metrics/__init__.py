"""How well scores tell speakers apart (NumPy in, numbers out), how sure that is, and pictures of it.

detection        EER, minDCF, actDCF, FRR at a FAR, areas under curves, accuracy
llr              Cllr and min Cllr
identification   closed set (top-k) and open set (DIR at FAR)
confidence       intervals and paired comparisons by resampling the speakers
summary          all detection metrics at once
all_pairs        EER and minDCF of everybody against everybody, from embeddings
"""

from mvector.metrics.all_pairs import AllPairs, all_pairs
from mvector.metrics.confidence import PairedDifference, confidence_intervals, paired_difference
from mvector.metrics.detection import (
    FarPoint,
    accuracy,
    act_dcf,
    average_precision,
    count_trials,
    eer,
    error_rates,
    frr_at_far,
    min_dcf,
    nontargets_needed,
    roc_auc,
)
from mvector.metrics.identification import (
    DirPoint,
    IdentificationMetrics,
    closed_set_accuracy,
    dir_at_far,
    identification_metrics,
)
from mvector.metrics.llr import cllr, min_cllr
from mvector.metrics.summary import DetectionMetrics, detection_metrics

__all__ = [
    "AllPairs",
    "DetectionMetrics",
    "DirPoint",
    "FarPoint",
    "IdentificationMetrics",
    "PairedDifference",
    "accuracy",
    "act_dcf",
    "all_pairs",
    "average_precision",
    "cllr",
    "closed_set_accuracy",
    "confidence_intervals",
    "count_trials",
    "detection_metrics",
    "dir_at_far",
    "eer",
    "error_rates",
    "frr_at_far",
    "identification_metrics",
    "min_cllr",
    "min_dcf",
    "nontargets_needed",
    "paired_difference",
    "roc_auc",
]
