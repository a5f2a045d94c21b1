import builtins
import json

import pytest

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
