"""The pictures are drawn, hold what they should, and a missing matplotlib is told in a sentence."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mvector.errors import MissingPackageError, MVectorError
from mvector.metrics import eer, figures, plots, training_curves

DRAWERS = [plots.save_det, plots.save_roc, plots.save_score_histogram]


@pytest.fixture
def trials():
    rng = np.random.default_rng(0)
    labels = rng.random(3000) < 0.3
    return (rng.normal(size=3000) + 3 * labels).astype(np.float32), labels


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are written, so that tests can read them."""
    pytest.importorskip("matplotlib")
    kept = []

    def keep(figure, path):
        kept.append(figure)
        figures.save_figure(figure, path)

    monkeypatch.setattr(plots, "save_figure", keep)
    monkeypatch.setattr(training_curves, "save_figure", keep)
    return kept


def texts(figure):
    return "\n".join(text.get_text() for axes in figure.axes for text in axes.get_legend().get_texts())


@pytest.mark.parametrize("draw", DRAWERS)
def test_picture_names_counts_and_eer(draw, trials, drawn, tmp_path):
    scores, labels = trials
    path = tmp_path / "图" / "picture.png"  # the folder is made
    draw(path, scores, labels)
    assert path.read_bytes().startswith(b"\x89PNG")
    legend = texts(drawn[0])
    rate, threshold = eer(scores, labels)
    assert f"EER {100 * rate:.2f} %" in legend
    assert f"{threshold:.4f}" in legend
    assert f"{labels.sum():,}" in legend
    assert f"{(~labels).sum():,}" in legend


def test_det_axes_are_normal_deviates(trials, drawn, tmp_path):
    """For two normal distributions of equal width the curve is straight with slope -1."""
    rng = np.random.default_rng(1)
    scores = np.concatenate([rng.normal(2, 1, 50_000), rng.normal(0, 1, 50_000)])
    plots.save_det(tmp_path / "det.png", scores, np.arange(100_000) < 50_000)
    curve = max(drawn[0].axes[0].lines, key=lambda line: len(line.get_xdata()))
    x, y = curve.get_xdata(), curve.get_ydata()
    assert len(x) <= plots.MOST_POINTS + 2  # thinned for drawing
    middle = (x > -2) & (x < 0)
    slope, offset = np.polyfit(x[middle], y[middle], 1)
    assert slope == pytest.approx(-1, abs=0.03)
    assert offset == pytest.approx(-2, abs=0.05)


def test_histogram_takes_a_threshold(trials, drawn, tmp_path):
    plots.save_score_histogram(tmp_path / "scores.png", *trials, threshold=1.25)
    assert "threshold 1.2500" in texts(drawn[0])
    assert drawn[0].axes[0].lines[0].get_xdata()[0] == 1.25


def test_evaluation_plots_and_counts(trials, tmp_path):
    pytest.importorskip("matplotlib")
    scored = SimpleNamespace(scores=trials[0], labels=trials[1], counts=np.full(3000, 1000))
    paths = plots.save_evaluation_plots(tmp_path / "images", scored)
    assert [path.name for path in paths] == ["det.png", "roc.png", "scores.png"]
    assert all(path.stat().st_size > 5000 for path in paths)


@pytest.mark.parametrize("draw", DRAWERS)
@pytest.mark.filterwarnings("error")
def test_extreme_systems_are_drawn(draw, tmp_path):
    pytest.importorskip("matplotlib")
    perfect = [0.5, 0.6, 0.7, 0.1, 0.2, 0.3], [1, 1, 1, 0, 0, 0]
    inverted = [0.5, 0.6, 0.7, 0.1, 0.2, 0.3], [0, 0, 0, 1, 1, 1]
    constant = [0.5] * 4, [0, 1, 0, 1]
    for number, case in enumerate((perfect, inverted, constant)):
        draw(tmp_path / f"{number}.png", *case)
        assert (tmp_path / f"{number}.png").exists()


def training_records():
    for step in range(1, 301):
        record = {"step": 10 * step, "epoch": (step - 1) // 100 + 1, "loss": 5 / step, "accuracy": step / 300}
        yield record | {"learning_rate": 1e-3, "margin": 0.1}
        if step % 100 == 0:
            yield {"step": 10 * step, "epoch": step // 100, "eer": 0.3 - step / 2000, "min_dcf": 0.9}


def test_training_curves(drawn, tmp_path):
    plots.save_training_curves(tmp_path / "curves.png", training_records())
    assert (tmp_path / "curves.png").exists()
    legend = texts_of_first_axes(drawn[0])
    assert "Loss" in legend
    assert "Accuracy" in legend
    assert "EER (best 15.00 %, epoch 3)" in legend
    accuracy = next(axes for axes in drawn[0].axes if axes.get_ylabel() == "Accuracy (%)")
    assert max(accuracy.lines[0].get_ydata()) == pytest.approx(100)


def texts_of_first_axes(figure):
    return "\n".join(t.get_text() for axes in figure.axes if axes.get_legend() for t in axes.get_legend().get_texts())


def test_training_curves_of_a_young_run(drawn, tmp_path):
    plots.save_training_curves(tmp_path / "a.png", [{"step": 1, "epoch": 1, "loss": 3.0, "accuracy": None}])
    assert [axes.get_ylabel() for axes in drawn[0].axes] == ["Loss"]
    plots.save_training_curves(tmp_path / "b.png", [{"epoch": 1, "eer": 0.2}, {"epoch": 2, "eer": float("nan")}])
    assert drawn[1].axes[-1].get_xlabel() == "Epoch"
    with pytest.raises(MVectorError, match="no training records"):
        plots.save_training_curves(tmp_path / "c.png", [{"step": 1}])


@pytest.mark.parametrize("draw", DRAWERS)
def test_missing_matplotlib_is_named(draw, trials, monkeypatch, tmp_path):
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match="pip install matplotlib"):
        draw(tmp_path / "picture.png", *trials)


def test_unwritable_picture(trials, tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(MVectorError, match="cannot be written"):
        plots.save_roc(tmp_path / "file" / "roc.png", *trials)
    with pytest.raises(MVectorError, match="cannot be written"):
        plots.save_roc(tmp_path / "roc.unknown", *trials)


def test_metrics_import_neither_matplotlib_nor_torch():
    code = (
        "import sys, mvector.metrics.plots, mvector.scoring; print(sorted({'torch', 'matplotlib'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
