"""The margin's course over training: none at first, then rising, then constant."""

from typing import Any

from mvector.errors import ConfigError

INCREASE_TYPES = ("exp", "linear")
END_RATIO = 1e-3  # what is left to rise, of the whole rise, at the end of an exponential increase


class MarginScheduler:
    """Moves the margin of `loss` from `initial_margin` to `final_margin` (in the loss's own unit), step by step.

    The margin is the initial one before `increase_start_epoch`, the final one from `fix_epoch` on. Between them it
    rises with the fraction p of the steps done: by the ratio p ("linear") or 1 - 0.001^p ("exp": fast first, as in
    WeSpeaker). It is a function of the global step alone, so a resumed run needs no state.
    """

    def __init__(
        self,
        loss: Any,
        steps_per_epoch: int,
        increase_start_epoch: float,
        fix_epoch: float,
        initial_margin: float = 0.0,
        final_margin: float = 0.3,
        increase_type: str = "exp",
    ):
        if not hasattr(loss, "update"):
            raise ConfigError(f"{type(loss).__name__} has no margin to schedule: set use_margin_scheduler to False.")
        if increase_type not in INCREASE_TYPES:
            raise ConfigError(f"increase_type must be one of {', '.join(INCREASE_TYPES)}, found {increase_type!r}.")
        if fix_epoch < increase_start_epoch:
            raise ConfigError(
                f"fix_epoch ({fix_epoch}) must not come before increase_start_epoch ({increase_start_epoch})."
            )
        self.loss = loss
        self.start_step = increase_start_epoch * steps_per_epoch
        self.fix_step = fix_epoch * steps_per_epoch
        self.initial_margin = initial_margin
        self.final_margin = final_margin
        self.increase_type = increase_type
        self.step(0)

    def margin_at(self, global_step: int) -> float:
        """Margin at a step, counted from 0 over all epochs."""
        if global_step >= self.fix_step:
            return self.final_margin
        if global_step < self.start_step:
            return self.initial_margin
        progress = (global_step - self.start_step) / (self.fix_step - self.start_step)
        ratio = progress if self.increase_type == "linear" else 1 - END_RATIO**progress
        return self.initial_margin + (self.final_margin - self.initial_margin) * ratio

    def step(self, global_step: int) -> None:
        """Set the loss's margin to that of `global_step`."""
        self.margin = self.margin_at(global_step)
        self.loss.update(self.margin)
