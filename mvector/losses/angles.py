"""What the margin losses share: the angular margin with a sine that is safe to differentiate."""

import math

import torch
from torch import Tensor

# Under the square root, so that the gradient stays finite at |cos| = 1; the spacing of float32 just under 1 is 6e-8.
SINE_SQUARED_FLOOR = 1e-7


def sine_of(cosine: Tensor) -> Tensor:
    """sin θ ≥ 0 from cos θ, of any shape; never under the root of SINE_SQUARED_FLOOR."""
    return (1 - cosine.square()).clamp_min(SINE_SQUARED_FLOOR).sqrt()


def add_angular_margin(cosine: Tensor, margin: float, easy_margin: bool = False) -> Tensor:
    """cos(θ + margin) from cos θ, of any shape, falling with θ all the way.

    Past θ = π - margin, where cos(θ + margin) would rise again, cos θ - (1 - cos margin) takes its place; with
    `easy_margin` the margin applies for θ < π/2 only, and cos θ elsewhere.
    """
    shifted = cosine * math.cos(margin) - sine_of(cosine) * math.sin(margin)
    if easy_margin:
        return torch.where(cosine > 0, shifted, cosine)
    return torch.where(cosine > -math.cos(margin), shifted, cosine - (1 - math.cos(margin)))


def subtract_angular_margin(cosine: Tensor, margin: float) -> Tensor:
    """cos(θ - margin) from cos θ, of any shape: what a penalty makes of a wrong speaker's cosine."""
    return cosine * math.cos(margin) + sine_of(cosine) * math.sin(margin)
