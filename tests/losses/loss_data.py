"""Inputs and formulas that the tests of several losses share."""

import math

import torch

# The arguments of the mvector package 1.1.7, whose configurations must mean here what they mean there.
OF_1_1 = {
    "AAMLoss": {"margin": 0.2, "scale": 32, "easy_margin": False, "label_smoothing": 0.0},
    "AMLoss": {"margin": 0.3, "scale": 32, "label_smoothing": 0.0},
    "ARMLoss": {"margin": 0.3, "scale": 32, "label_smoothing": 0.0},
    "CELoss": {"label_smoothing": 0.0},
    "SphereFace2": {"margin": 0.2, "scale": 32.0, "lanbuda": 0.7, "t": 3, "margin_type": "C"},
    "SubCenterLoss": {"margin": 0.2, "scale": 32, "easy_margin": False, "K": 3, "label_smoothing": 0.0},
    "TripletAngularMarginLoss": {
        "margin": 0.5,
        "normalize_feature": True,
        "add_absolute": True,
        "absolute_loss_weight": 1.0,
        "ap_value": 0.8,
        "an_value": 0.4,
        "label_smoothing": 0.0,
    },
}


def recorded_cosines(batch: int, classes: int) -> torch.Tensor:
    """Cosines [batch, classes] float64 by formula; published implementations were run on them to record their loss."""
    row, column = torch.meshgrid(
        torch.arange(batch, dtype=torch.float64), torch.arange(classes, dtype=torch.float64), indexing="ij"
    )
    return 0.98 * torch.sin(1.3 * row + 2.1 * column + 0.5 * row * column)


def recorded_embeddings(batch: int, size: int) -> torch.Tensor:
    """Embeddings [batch, size] float64 by formula, likewise."""
    return recorded_cosines(batch, size) + 0.3


def some_cosines(batch: int = 64, speakers: int = 7, per_speaker: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines [batch, speakers · per_speaker] float64 all over (-1, 1), and labels [batch]."""
    generator = torch.Generator().manual_seed(3)
    cosines = 2 * torch.rand(batch, speakers * per_speaker, generator=generator, dtype=torch.float64) - 1
    return 0.999 * cosines, torch.randint(speakers, (batch,), generator=generator)


def some_embeddings(counts: list[int], size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings [sum of counts, size] float64 in mixed order, and labels: counts[n] utterances of speaker 10 · n."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.tensor([10 * speaker for speaker, count in enumerate(counts) for _ in range(count)])
    labels = labels[torch.randperm(len(labels), generator=generator)]
    return torch.randn(len(labels), size, generator=generator, dtype=torch.float64), labels


def cross_entropy(scores: list[float], right: int, label_smoothing: float = 0.0) -> float:
    """Cross-entropy of one example, by plain floats."""
    top = max(scores)
    log_sum = top + math.log(sum(math.exp(score - top) for score in scores))
    smooth = label_smoothing / len(scores)
    targets = [smooth + (1 - label_smoothing if j == right else 0) for j in range(len(scores))]
    return -sum(target * (score - log_sum) for target, score in zip(targets, scores, strict=True))


def mean_cross_entropy(
    scores: list[list[float]], labels: torch.Tensor | list[int], label_smoothing: float = 0.0
) -> float:
    labels = [int(label) for label in labels]
    return sum(cross_entropy(row, right, label_smoothing) for row, right in zip(scores, labels, strict=True)) / len(
        labels
    )


def cosine(a: list[float], b: list[float]) -> float:
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths


def mean(rows: list[list[float]]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]
