"""What happens to one batch: features, forward pass, gradients, and the optimiser's step."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mvector.losses.partial_fc import PartialFC
from mvector.training.ranks import all_sum, sum_gradients

if TYPE_CHECKING:
    from mvector.training.run import TrainingRun


def network_input(run: "TrainingRun", batch: dict[str, Any], featurizer: nn.Module | None = None) -> Tensor:
    """The batch's features [B, F, D] on the run's device; augmented and computed there where the workers have not done
    it, by the run's featurizer or another one."""
    if run.augment is None:
        sound = batch["sound"].to(run.device, non_blocking=True)
    else:
        sound = run.augment(batch["material"].to(run.device))  # [B, T]
    if run.features_in_workers:
        return sound
    with run.autocast():  # for a learned feature; the others are computed in float32 all the same
        sound, _ = (featurizer or run.embedder.featurizer)(sound)  # [B, T] -> [B, F, D]
    spec_augment = run.dataset.augmentation.spec_augment
    if spec_augment is not None:
        sound = spec_augment(sound, batch["draws"])
    return sound


def embed(run: "TrainingRun", batch: dict[str, Any]) -> Tensor:
    """The batch's embeddings [B, E]; without gradients where the backbone is frozen."""
    with torch.set_grad_enabled(not run.backbone_is_frozen):
        features = network_input(run, batch)
        with run.autocast():
            return run.forward_backbone(features)


def learn(run: "TrainingRun", loss: Tensor, share: float = 1.0) -> None:
    """Add the gradients of a batch's mean `loss`, and step the optimiser where the batch completes a step.

    `share` is the part that this process has in the examples of all processes' batches: the gradients are summed over
    them, once in a step, and so become those of the mean over all examples.
    """
    batches = run.batches_of_step
    run.scaler.scale(loss * (share / batches)).backward()
    run.first_batch += 1
    run.step += 1
    if not run.between_steps:
        return
    sharded = run.classifier if isinstance(run.classifier, PartialFC) else None
    if sharded is not None:
        sharded.fetch(run.optimizer)
    # Before they are unscaled, so that all processes see the same overflows.
    sum_gradients(parameter for parameter in run.trained if sharded is None or parameter is not sharded.weight)
    run.scaler.unscale_(run.optimizer)
    norm = clip_gradients(run)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    if sharded is not None:
        sharded.store(run.optimizer)
    run.optimizer.zero_grad(set_to_none=True)
    if run.scheduled_by_step:
        run.scheduler.step()
    if run.average is not None:
        run.average.update_parameters(run.embedder)
    if run.scaler.is_enabled():  # float16 overflows now and then: the scaler leaves that step out and goes on
        norm = torch.where(norm.isfinite(), norm, torch.zeros_like(norm))
    run.totals["gradient_norm"] = run.totals["gradient_norm"] + norm
    run.totals["optimizer_steps"] += 1


def clip_gradients(run: "TrainingRun") -> Tensor:
    """The 2-norm of all gradients together, which are scaled down where it is above `clip_grad_norm`."""
    limit = run.config.train_conf.clip_grad_norm
    sharded = run.classifier.weight if isinstance(run.classifier, PartialFC) else None
    gradients = [p.grad for p in run.trained if p.grad is not None and p is not sharded]
    norm = nn.utils.get_total_norm(gradients).to(run.device)
    if sharded is not None and sharded.grad is not None:
        norm = (norm.square() + all_sum(sharded.grad.square().sum())).sqrt()
    if limit is not None:
        nn.utils.clip_grads_with_norm_(run.trained, limit, norm)
    return norm.detach()


def add_to_totals(run: "TrainingRun", loss: Tensor, correct: Tensor, examples: int) -> None:
    """Add a batch of so many `examples` to the sums of the epoch; they stay on the device, where they cost no wait."""
    run.totals["loss"] = run.totals["loss"] + loss.detach() * examples
    run.totals["correct"] = run.totals["correct"] + correct.detach()
    run.totals["examples"] += examples


def end_epoch_of_scheduler(run: "TrainingRun") -> None:
    """Step a schedule that counts epochs."""
    if run.scheduled_by_step:
        return
    if isinstance(run.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        totals = run.whole_totals()
        run.scheduler.step(totals["loss"] / max(1, totals["examples"]))
    else:
        run.scheduler.step()
