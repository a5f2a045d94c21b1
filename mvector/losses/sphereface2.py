"""SphereFace2: one binary classification for every speaker."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.losses.angles import add_angular_margin, subtract_angular_margin
from mvector.precision import at_least_float32
from mvector.registry import LOSSES

MARGIN_TYPES = ("C", "A")


@LOSSES.register("SphereFace2")
class SphereFace2(nn.Module):
    """SphereFace2, a binary classification for every speaker (Wen 2022; for speakers Han 2023).

    forward(logits [B, S] cosines, labels [B] int64) -> scalar float32, the mean over the batch of

        lanbuda · log(1 + exp(-(scale · p + bias))) + (1 - lanbuda) · Σ_wrong log(1 + exp(scale · n + bias))

    with a learned `bias` and g(z) = 2 ((z + 1) / 2)^t - 1, which spreads the scores (t ≥ 1; 1 leaves them alone):
    margin type "C": p = g(cos θ) - margin, n = g(cos θ) + margin;
    margin type "A": p = g(cos(θ + margin)), n = g(cos(θ - margin)), the margin in radians.
    Usual margins are 0.2 (C) or 0.15 (A), in large-margin fine-tuning 0.3 or 0.25. `lanbuda` is the paper's weight λ,
    by the name that it has in the mvector package and WeSpeaker. Computed in float32 whatever autocast says.
    """

    needs_cosines = True

    def __init__(
        self, margin: float = 0.2, scale: float = 32.0, lanbuda: float = 0.7, t: float = 3, margin_type: str = "C"
    ):
        super().__init__()
        if margin_type not in MARGIN_TYPES:
            raise ConfigError(
                f"SphereFace2: margin_type must be one of {', '.join(MARGIN_TYPES)}, found {margin_type!r}."
            )
        if t < 1:
            raise ConfigError(f"SphereFace2: t must be at least 1, found {t}: under 1 the gradient is not finite.")
        self.scale = scale
        self.lanbuda = lanbuda
        self.t = t
        self.margin_type = margin_type
        self.bias = nn.Parameter(torch.zeros(()))
        self.update(margin)

    def update(self, margin: float) -> None:
        """Set the margin: a difference of scores (C) or radians (A); a margin scheduler calls this at every step."""
        self.margin = margin

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            cosines = at_least_float32(logits)
            right = labels.unsqueeze(1)
            target = cosines.gather(1, right)  # [B, 1]
            if self.margin_type == "A":
                positive = self._spread(add_angular_margin(target, self.margin))
                negative = self._spread(subtract_angular_margin(cosines, self.margin))
            else:
                positive = self._spread(target) - self.margin
                negative = self._spread(cosines) + self.margin
            attraction = self.lanbuda * functional.softplus(-(self.scale * positive + self.bias))  # [B, 1]
            repulsion = (1 - self.lanbuda) * functional.softplus(self.scale * negative + self.bias)  # [B, S]
            return repulsion.scatter(1, right, attraction).sum(1).mean()

    def _spread(self, z: Tensor) -> Tensor:
        # The sign carries the power on below z = -1, where rounding and the angular margin's straight line may lead:
        # it stays monotone for an even t and a number for a fractional one.
        half = (z + 1) / 2
        return 2 * half.sign() * half.abs().pow(self.t) - 1
