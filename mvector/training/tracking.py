"""Records of a run: every scalar to metrics.jsonl, and to a viewer where it works. A broken viewer only warns."""

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from mvector.model_directory import write_text

logger = logging.getLogger("mvector")

VIEWERS = ("VisualDL", "TensorBoard")


class Tracker:
    """Writes scalars with their step to `log_dir`; `visualdl --logdir log` or `tensorboard --logdir log` shows them.

    `viewer` is VisualDL, TensorBoard or None. A resumed run names the step of its checkpoint: what a killed run wrote
    after it is dropped, and with `evaluates_again` the evaluation at that step as well.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike,
        resume_step: int = 0,
        evaluates_again: bool = False,
        viewer: str | None = "VisualDL",
    ):
        self.folder, self.viewer = Path(log_dir), viewer
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "metrics.jsonl"
        self._forget_after(resume_step, evaluates_again)
        self._file = open(self.path, "a", encoding="utf-8", newline="\n")  # noqa: SIM115  (closed in close)
        self._writer = self._open_viewer(resume_step)

    def record(self, step: int, **values: Any) -> None:
        """Append one line of values; numbers whose name has a slash ('Train/loss') go to the viewer too."""
        plain = {name.rpartition("/")[2]: value for name, value in values.items()}
        try:
            self._file.write(json.dumps({"step": step, **plain}, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:  # the next checkpoint stops a run whose disk is full; a line of figures does not
            logger.warning("%s cannot be written (%s)", self.path, error)
        if self._writer is None:
            return
        for name, value in values.items():
            if "/" in name:
                try:
                    self._writer.add_scalar(name, value, step)
                except Exception as error:  # a viewer must never stop a training run
                    logger.warning("%s cannot write (%s); scalars go on to %s only", self.viewer, error, self.path)
                    self._writer = None
                    return

    def records(self) -> list[dict[str, Any]]:
        return read_records(self.path)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what a full disk did not take; it was warned of
            self._file.close()
        if self._writer is not None:
            self._writer.close()

    def _forget_after(self, step: int, evaluates_again: bool) -> None:
        """Drop lines that a killed run wrote after its last checkpoint: the resumed run writes them again."""
        if not self.path.exists():
            return
        kept = [record for record in read_records(self.path) if record["step"] <= step] if step else []
        if evaluates_again:
            kept = [record for record in kept if record["step"] < step or "eer" not in record]
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
        write_text(self.path, text)

    def _open_viewer(self, resume_step: int) -> Any:
        try:
            if self.viewer == "VisualDL":
                from visualdl import LogWriter

                return LogWriter(logdir=str(self.folder))
            if self.viewer == "TensorBoard":
                from torch.utils.tensorboard import SummaryWriter

                return SummaryWriter(log_dir=str(self.folder), purge_step=resume_step + 1 if resume_step else None)
        except Exception as error:
            logger.warning(
                "%s is not usable (%s); scalars go to %s only. To install it: pip install %s",
                self.viewer,
                error,
                self.path,
                str(self.viewer).lower(),
            )
        return None


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl; a last line that was cut off by a kill is ignored."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records
