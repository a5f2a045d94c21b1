import builtins
import json
import os
import sys
from types import SimpleNamespace

import pytest

from mvector.config import load_config
from mvector.evaluation import Evaluation
from mvector.trainer import MVectorTrainer
from mvector.training.preparation import Development
from mvector.training.tracking import Tracker, read_records


def test_records_survive_and_a_resumed_run_forgets_what_came_after_its_checkpoint(tmp_path):
    tracker = Tracker(tmp_path)
    for step in (1, 2, 3):
        tracker.record(step, epoch=1, **{"Train/loss": step / 2})
    tracker.close()
    with open(tmp_path / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 4, "lo')  # killed while writing
    resumed = Tracker(tmp_path, resume_step=2)
    resumed.record(3, **{"Train/loss": 9.0})
    resumed.close()
    records = read_records(tmp_path / "metrics.jsonl")
    assert records == [
        {"step": 1, "epoch": 1, "loss": 0.5},
        {"step": 2, "epoch": 1, "loss": 1.0},
        {"step": 3, "loss": 9.0},
    ]


def test_a_new_run_starts_an_empty_record(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1}) + "\n", encoding="utf-8")
    Tracker(tmp_path).close()
    assert read_records(tmp_path / "metrics.jsonl") == []


def test_visualdl_gets_the_scalars(tmp_path):
    pytest.importorskip("visualdl", reason="visualdl is in the extra train")
    from visualdl import LogReader

    tracker = Tracker(tmp_path)
    for step in range(3):
        tracker.record(step, epoch=1, **{"Train/loss": 2.0 - step})
    tracker.close()
    logs = [path for path in tmp_path.iterdir() if path.name.startswith("vdlrecords")]
    assert len(logs) == 1
    data = LogReader(file_path=str(logs[0])).get_data("scalar", "Train/loss")
    assert [(point.id, point.value) for point in data] == [(0, 2.0), (1, 1.0), (2, 0.0)]


def test_without_visualdl_there_is_a_warning_and_the_record_all_the_same(tmp_path, monkeypatch, caplog):
    real = builtins.__import__

    def refuse(name, *arguments, **keywords):
        if name.startswith("visualdl"):
            raise OSError("a broken library, not a missing one")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    tracker = Tracker(tmp_path)
    tracker.record(1, **{"Train/loss": 1.0})
    tracker.close()
    assert "VisualDL is not usable" in caplog.text
    assert read_records(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 1.0}]


def test_an_evaluation_is_recorded_with_its_interval_where_it_has_one(settings, tmp_path, monkeypatch):
    trainer, tracker = MVectorTrainer(load_config(settings), device="cpu"), Tracker(tmp_path, viewer=None)
    development = Development("dev.txt", trials=None, is_test_list=False)
    for epoch, intervals in ((1, {"eer": (0.15, 0.3), "min_dcf": (0.5, 0.9)}), (2, None)):
        result = Evaluation(0.2, 0.3, 0.7, 24, 96, 16, 1.0, intervals_95=intervals)
        monkeypatch.setattr(trainer, "evaluate_model", lambda *_, result=result: result)
        run = SimpleNamespace(epoch=epoch, step=6 * epoch, model=None, best_eer=0.0, metrics=lambda _: {})
        trainer._choose_best(run, tracker, development)
    tracker.close()
    plain = {"eer": 0.2, "min_dcf": 0.7, "threshold": 0.3}
    assert read_records(tmp_path / "metrics.jsonl") == [
        {"step": 6, "epoch": 1, **plain, "eer_low": 0.15, "eer_high": 0.3},
        {"step": 12, "epoch": 2, **plain},
    ]


def test_a_viewer_that_breaks_later_only_warns(tmp_path, caplog):
    tracker = Tracker(tmp_path)

    class Broken:
        def add_scalar(self, *_):
            raise RuntimeError("disk full")

    tracker._writer = Broken()
    tracker.record(1, **{"Train/loss": 1.0})
    tracker.record(2, **{"Train/loss": 0.5})
    tracker.close()
    assert caplog.text.count("disk full") == 1
    assert len(read_records(tmp_path / "metrics.jsonl")) == 2


def test_tensorboard_by_name_and_a_resumed_run_does_not_double_its_curve(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is in the extra dev")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = Tracker(tmp_path, viewer="TensorBoard")
    for step in (1, 2, 3):
        tracker.record(step, epoch=1, **{"Train/loss": 2.0 - step})
    tracker.close()
    resumed = Tracker(tmp_path, resume_step=2, viewer="TensorBoard")
    for step in (3, 4):
        resumed.record(step, epoch=1, **{"Train/loss": 2.0 - step})
    resumed.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("Train/loss")] == [
        (1, 1.0), (2, 0.0), (3, -1.0), (4, -2.0)
    ]  # fmt: skip
    assert not any(path.name.startswith("vdlrecords") for path in tmp_path.iterdir())


def test_a_missing_viewer_is_named_with_the_way_to_install_it(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    tracker = Tracker(tmp_path, viewer="TensorBoard")
    tracker.record(1, **{"Train/loss": 1.0})
    tracker.close()
    assert "TensorBoard is not usable" in caplog.text
    assert "pip install tensorboard" in caplog.text
    assert read_records(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 1.0}]


def test_the_records_are_replaced_at_once(tmp_path, monkeypatch):
    """Killed while a resumed run forgets lines, the old ones are still there."""
    tracker = Tracker(tmp_path)
    for step in (1, 2):
        tracker.record(step, **{"Train/loss": 1.0})
    tracker.close()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        Tracker(tmp_path, resume_step=1)
    assert len(read_records(tmp_path / "metrics.jsonl")) == 2
