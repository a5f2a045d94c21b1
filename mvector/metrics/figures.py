"""What all pictures share: colours, the empty figure, writing the file (PNG, or what its extension says).

matplotlib is imported only when a picture is asked for; it draws into a file and needs no screen.
"""

from pathlib import Path
from typing import Any

from mvector.errors import MissingPackageError, MVectorError

TARGET_COLOUR, NONTARGET_COLOUR, CURVE_COLOUR, MARK_COLOUR = "#1b7837", "#b2182b", "#2166ac", "#e08214"


def new_figure(title: str, size_inch: tuple[float, float], rows: int | None = None) -> tuple[Any, Any]:
    """(figure, its axes), or with `rows` a list of axes one above the other; needs matplotlib but no screen."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except Exception as error:
        raise MissingPackageError(
            f"pictures need matplotlib, which cannot be imported ({error}): pip install matplotlib"
        ) from error
    figure = Figure(figsize=size_inch, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: no global state, no window, safe in threads
    figure.suptitle(title)
    several = figure.subplots(rows or 1, sharex=True, squeeze=False)[:, 0]
    for axes in several:
        axes.grid(True, color="0.88", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, several if rows else several[0]


def save_figure(figure: Any, path: str | Path) -> None:
    """Write the figure (the extension of `path` says the format), making the folder if need be."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise MVectorError(f"{path}: the picture cannot be written ({error}).") from error
