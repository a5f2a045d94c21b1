"""From a run to the state that a checkpoint holds, and back: after it the run goes on as if it had never stopped."""

import itertools
import json
import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mvector.config import Config
from mvector.data.lists import Utterance, list_digest
from mvector.errors import ModelError
from mvector.losses.partial_fc import PartialFC
from mvector.training.precision import name_of
from mvector.training.ranks import gather, is_first, rank, world_size

if TYPE_CHECKING:
    from mvector.training.run import TrainingRun

logger = logging.getLogger("mvector")


def state_of(run: "TrainingRun") -> dict[str, Any]:
    """Tensors, numbers and texts, and lists and dicts of them. The margin follows from the step, the order of the data
    and the augmentation from seed, epoch and utterance. All processes call it; the first one's answer is to be stored,
    and holds under `ranks` what each of them has of its own."""
    for skipped in gather(run.skipped):
        run.skipped.update(skipped)
    totals = {name: float(value) for name, value in run.totals.items()}
    optimizer, classifier = run.optimizer.state_dict(), {}
    if isinstance(run.classifier, PartialFC):
        classifier = run.classifier.gathered_state(run.optimizer)
        number = next(n for n, parameter in enumerate(run.trained) if parameter is run.classifier.weight)
        own = optimizer["state"].get(number, {})  # without what is in `classifier`, of all processes
        optimizer["state"][number] = {k: v for k, v in own.items() if not isinstance(v, torch.Tensor) or v.ndim == 0}
    return {
        "epoch": run.epoch,
        "first_batch": run.first_batch,
        "step": run.step,
        "batches_per_epoch": len(run.batches),
        "batch_size": run.batches.batch_size,  # of all processes together
        "configured_batch_size": run.config.dataset_conf.sampler.batch_size,
        "seed": run.config.train_conf.seed,
        "data_digest": run.data_digest,
        "precision": name_of(run.dtype),
        "pretrained_model": run.pretrained_model,
        "ranks": gather({"totals": totals, "rng": _generators(run.device)}),
        "network": run.network.state_dict(),
        "loss": run.loss.state_dict(),
        "classifier": classifier,
        "optimizer": optimizer,
        "scheduler": run.scheduler.state_dict(),
        "scaler": run.scaler.state_dict(),
        "average": {} if run.average is None else run.average.state_dict(),
        "best_eer": run.best_eer,
        "metrics": json.dumps({"best": run.best_metrics, "last": run.last_metrics}),
        "skipped": dict(run.skipped),
    }


def data_digest(utterances: Sequence[Utterance]) -> str:
    """32 hexadecimal digits for the rows of a training list in their order. Paths count from the folder that all of
    them share, so that a data folder may move between two parts of a run."""
    names = [utterance.path.replace("\\", "/") for utterance in utterances]
    pairs = zip(min(names), max(names), strict=False)  # where these two agree, all in between do
    prefix = "".join(one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    start = prefix.rfind("/") + 1
    rows = zip(names, utterances, strict=True)
    return list_digest(Utterance(name[start:], one.speaker, one.start_s, one.end_s) for name, one in rows)


def whole_batch_size(config: Config, state: dict[str, Any] | None) -> int | None:
    """How many utterances make a batch of all processes together where a run goes on from `state`: as many as before,
    also with another number of processes, so that every utterance of the epoch comes once. None: as the configuration
    says, for a new run and where `batch_size` has been changed in it."""
    if state is None or state["configured_batch_size"] != config.dataset_conf.sampler.batch_size:
        return None
    if len(state["ranks"]) != world_size():
        logger.info(
            "processes: %d go on with what %d did; a batch still holds %d utterances in all",
            world_size(),
            len(state["ranks"]),
            state["batch_size"],
        )
    return int(state["batch_size"])


def seed_of_rank(seed: int, number: int) -> int:
    """The seed of what process `number` draws at random on its own, as dropout does."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0] >> 1)


def restore(run: "TrainingRun", folder: Path, state: dict[str, Any]) -> None:
    """Put the state in the checkpoint `folder` into the run; ModelError where the two do not fit each other.

    With another number of processes than before, their sums go to the first one; random draws are other ones then.
    """
    _require_same_order(run, folder, state)
    if state["batches_per_epoch"] != len(run.batches):
        raise ModelError(
            f"{folder} was trained with {state['batches_per_epoch']} batches an epoch, now there are "
            f"{len(run.batches)}: the data list, the batch size or (with very small batches) the number of processes "
            "has changed. Restore them, or start a new run from these weights with --pretrained_model."
        )
    try:
        run.network.load_state_dict(state["network"])
        run.loss.load_state_dict(state["loss"])
        run.optimizer.load_state_dict(state["optimizer"])
        if isinstance(run.classifier, PartialFC):
            run.classifier.restore(state["classifier"], run.optimizer)
        run.scheduler.load_state_dict(state["scheduler"])
        if run.average is not None and state["average"]:
            run.average.load_state_dict(state["average"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} does not fit this configuration: {str(error).splitlines()[0]}") from error
    if state["scaler"] and run.scaler.is_enabled():  # empty when it was switched off
        run.scaler.load_state_dict(state["scaler"])
    if state["precision"] != name_of(run.dtype):
        logger.warning("%s was computed in %s, this run in %s", folder, state["precision"], name_of(run.dtype))
    run.pretrained_model = state["pretrained_model"]
    if rank() < len(state["ranks"]):
        _set_generators(state["ranks"][rank()]["rng"], run.device)
    run.epoch, run.first_batch, run.step = state["epoch"], state["first_batch"], state["step"]
    for name, value in _own_totals([of_rank["totals"] for of_rank in state["ranks"]]).items():
        counts = name in ("examples", "optimizer_steps")
        run.totals[name] = int(value) if counts else torch.tensor(value, device=run.device)
    metrics = json.loads(state["metrics"])
    run.best_eer, run.best_metrics, run.last_metrics = state["best_eer"], metrics["best"], metrics["last"]
    run.skipped = dict(state["skipped"])
    logger.info("going on from %s: epoch %d, batch %d", folder, run.epoch + 1, run.first_batch)


def _require_same_order(run: "TrainingRun", folder: Path, state: dict[str, Any]) -> None:
    """Raise ModelError where the rest of an epoch would be drawn from other rows, or in another order, than what the
    run has seen of it: utterances would be lost or doubled. States of older versions do not say."""
    if state.get("data_digest", run.data_digest) != run.data_digest:
        raise ModelError(
            f"{folder} was trained on another list: the recordings of the training list, their speakers or their order "
            "have changed. Restore the list, give this run a folder of its own with --save_model_path, or start it "
            "from these weights with --pretrained_model."
        )
    seed = run.config.train_conf.seed
    if state.get("seed", seed) != seed:
        raise ModelError(
            f"{folder} was trained with train_conf.seed {state['seed']}, now it is {seed}, which draws the utterances "
            f"in another order. Set it to {state['seed']}, or start a new run from these weights with "
            "--pretrained_model."
        )


def _own_totals(totals: list[dict[str, float]]) -> dict[str, float]:
    """This process's totals of those of the processes that a checkpoint was made by."""
    if len(totals) == world_size():
        return totals[rank()]
    own = dict(totals[0])  # gradient norms and steps of the optimiser are the same for all
    for name in ("loss", "correct", "examples"):
        own[name] = sum(of_rank[name] for of_rank in totals) if is_first() else 0.0
    return own


def _generators(device: torch.device) -> dict[str, Any]:
    """The states of all random generators: ours draw from torch's alone, a user's own parts may use the others."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    states: dict[str, Any] = {
        "cpu": torch.get_rng_state(),
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss],
        "python": random.getstate(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_generators(states: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    random.setstate(states["python"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
