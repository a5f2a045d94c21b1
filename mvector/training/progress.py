"""How fast a run is, what it waits for, and its progress lines."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from mvector.training.summary import layer_summary

if TYPE_CHECKING:
    from mvector.training.run import TrainingRun
    from mvector.training.tracking import Tracker

logger = logging.getLogger("mvector")


class Pace:
    """Utterances per second since its creation, and the share of that time in which the device had no batch.

    On a CPU that is the time spent asking the loader for the next batch. A GPU works through a queue while Python
    asks; there it is the time between the end of one step and the arrival of the next batch on the GPU's own clock.
    """

    def __init__(self, device: torch.device):
        self.device, self.examples = device, 0
        self._started = time.perf_counter()
        self._waited_s = 0.0
        self._open: list[tuple[Any, Any]] = []  # waits on a GPU that are still to be read

    def batches(self, loader: Iterable[Any]) -> Iterator[Any]:
        """What `loader` yields; the time that it takes to is counted as waiting."""
        source = iter(loader)
        while True:
            asked = self._now()
            try:
                batch = next(source)
            except StopIteration:
                return
            if self.device.type == "cuda":
                self._open.append((asked, self._now()))
            else:
                self._waited_s += self._now() - asked
            yield batch

    def _now(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def utterances_per_s(self) -> float:
        return self.examples / (time.perf_counter() - self._started)

    def stall(self) -> float:
        """The share of the time, 0 to 1, in which the device waited for data."""
        for asked, came in self._open:
            came.synchronize()
            self._waited_s += asked.elapsed_time(came) / 1000
        self._open.clear()
        return min(1.0, self._waited_s / (time.perf_counter() - self._started))


def memory_gib(device: torch.device) -> float | None:
    """The most memory that was held so far, in GiB: of the GPU by torch, else of the main memory by this process
    (its workers apart). None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20  # bytes there, KiB elsewhere


def describe(run: "TrainingRun") -> None:
    """Log the resolved configuration, the network layer by layer, and how much there is to do."""
    logger.info("configuration:\n%s", run.config.describe())
    featurizer = run.embedder.featurizer.eval()  # dropout of a learned feature would shift what a resumed run draws
    with torch.no_grad():
        features, _ = featurizer(torch.zeros(1, run.dataset.crop.samples, device=run.device))
    featurizer.train()
    logger.info("network:\n%s", layer_summary(run.embedder.backbone, features))
    logger.info(
        "%d utterances of %d speakers (%d classes), %d batches of %d an epoch, %d development recordings, on %s in %s",
        len(run.dataset),
        len(run.speakers),
        run.dataset.num_classes,
        len(run.batches),
        run.batches.batch_size,
        0 if run.development is None else len(run.development.trials.utterances),
        run.device,
        str(run.dtype).removeprefix("torch."),
    )
    if run.synthetic:
        logger.warning("%s", run.synthetic)
    if run.step:
        logger.info("going on at epoch %d, batch %d", run.epoch + 1, run.first_batch)


def report(run: "TrainingRun", tracker: "Tracker | None", pace: Pace, progress: tqdm) -> None:
    """Log and record the epoch so far; all processes call it, the first one has a tracker."""
    totals, epochs = run.whole_totals(), run.config.train_conf.max_epoch
    examples = max(1, totals["examples"])
    loss, accuracy = totals["loss"] / examples, totals["correct"] / examples
    run.check_loss_is_finite()
    rate, stall, memory = pace.utterances_per_s(), pace.stall(), memory_gib(run.device)
    scalars = {
        "Train/loss": loss,
        "Train/accuracy": accuracy,
        "Train/learning_rate": run.optimizer.param_groups[0]["lr"],
        "Train/gradient_norm": run.mean_gradient_norm(),
        "Speed/utterances_per_s": round(rate, 1),
        "Speed/data_stall_percent": round(100 * stall, 2),
    }
    if memory is not None:
        scalars["Speed/memory_gib"] = round(memory, 3)
    margin = getattr(run.loss, "margin", None)
    if margin is not None:
        scalars["Train/margin"] = margin
    if tracker is not None:
        tracker.record(run.step, epoch=run.epoch + 1, **scalars)
    progress.set_postfix_str(f"loss {loss:.3f}, accuracy {accuracy:.3f}")
    logger.info(
        "epoch %d/%d, batch %d/%d, loss %.4f, accuracy %.4f, margin %s, rate %.2e, gradient %.2f, %.0f utterances/s, "
        "data stall %.1f %%, memory %s, left %s",
        run.epoch + 1,
        epochs,
        run.first_batch,
        len(run.batches),
        loss,
        accuracy,
        "-" if margin is None else f"{margin:.3f}",
        scalars["Train/learning_rate"],
        scalars["Train/gradient_norm"],
        rate,
        100 * stall,
        "-" if memory is None else f"{memory:.2f} GiB",
        timedelta(seconds=round((epochs * len(run.batches) - run.step) * run.batches.batch_size / rate)),
    )


def draw_curves(tracker: "Tracker") -> None:
    """The picture curves.png; without matplotlib the numbers are in metrics.jsonl all the same."""
    from mvector.errors import MVectorError

    try:
        from mvector.metrics.training_curves import save_training_curves

        save_training_curves(tracker.folder / "curves.png", tracker.records())
    except MVectorError as error:
        logger.debug("no curves drawn: %s", error)
