"""What a model directory's metrics.json says of a trained model."""

import platform
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import mvector
from mvector.evaluation import Evaluation
from mvector.training.precision import name_of
from mvector.training.summary import count_parameters

if TYPE_CHECKING:
    from mvector.training.run import TrainingRun


def model_metrics(run: "TrainingRun", result: Evaluation | None) -> dict[str, Any]:
    """How far the run is, the figures of an evaluation and its threshold, the precision, the training, versions."""
    metrics: dict[str, Any] = {"epoch": run.epoch, "step": run.step}
    if result is not None and run.development is not None:
        calibration = None if result.calibration is None else result.calibration.as_dict()
        metrics |= {
            "eer": result.eer,
            "threshold": result.threshold,
            "threshold_chosen": "at the equal error rate of the development trials",
            "calibration": calibration,
            "min_dcf": result.min_dcf,
            "min_dcf_p_target": 0.01,
            "development": {
                "list": run.development.list_path,
                "threshold": result.threshold,
                "calibration": calibration,
                "is_the_configured_test_list": run.development.is_test_list,
                "target_trials": result.targets,
                "non_target_trials": result.non_targets,
                "recordings": result.utterances,
                "speakers": result.speakers,
                "intervals_95": result.intervals_95,
                "left_out": len(result.left_out),
            },
        }
    if run.synthetic:
        metrics["synthetic"] = run.synthetic
    return metrics | {
        "parameters": count_parameters(run.embedder),
        "training_speakers": len(run.speakers),
        "training_utterances": len(run.dataset),
        "training_precision": name_of(run.dtype),
        "precision": run.config.model_conf.precision,  # of the embeddings that the figures and the threshold belong to
        "seed": run.config.train_conf.seed,
        "versions": {
            "mvector": mvector.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
