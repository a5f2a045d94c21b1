"""A small plot as inline SVG: axes with ticks and labels, lines, filled areas, points.

Colours are classes of the page's CSS (`target`, `nontarget`, `curve`, `mark`, `series-2` …), so that one picture serves
light and dark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.report.markup import Markup, element

WIDTH, HEIGHT = 480, 350
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 52


@dataclass(frozen=True)
class Axis:
    """Where an axis begins and ends, in the units that are drawn, its ticks (place, text), its name with unit."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    label: str


def linear_axis(low: float, high: float, label: str, most_ticks: int = 6) -> Axis:
    """An axis with ticks at round numbers (1, 2 or 5 times a power of ten apart)."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / most_ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.7 * rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return Axis(low, high, [(n * step, f"{n * step + 0.0:.{decimals}f}") for n in range(first, last + 1)], label)


class Plot:
    """Parts are drawn in the order in which they are added; whatever lies outside the axes is cut off."""

    def __init__(self, x: Axis, y: Axis, description: str) -> None:
        self.x, self.y, self.description = x, y, description
        self._parts: list[Markup] = []

    def line(self, x: ArrayLike, y: ArrayLike, colour: str, dashed: bool = False) -> None:
        """A polyline through x, y [n]."""
        self._add("path", f"line {colour}{' dashed' if dashed else ''}", d=_path(*self._place(x, y)))

    def area(self, edges: ArrayLike, heights: ArrayLike, colour: str) -> None:
        """Bars of a histogram without gaps: edges [n + 1], heights [n], filled down to the lower end of the axis."""
        edge, height = np.asarray(edges), np.asarray(heights)
        x = np.repeat(edge, 2)
        y = np.concatenate([[self.y.low], np.repeat(height, 2), [self.y.low]])
        self._add("path", f"area {colour}", d=_path(*self._place(x, y)))

    def vertical(self, x: float, colour: str, dashed: bool = True) -> None:
        self.line([x, x], [self.y.low, self.y.high], colour, dashed)

    def point(self, x: float, y: float, colour: str, shape: str = "circle") -> None:
        """A mark: 'circle', 'diamond', 'square' or 'triangle'."""
        left, top = (float(value[0]) for value in self._place([x], [y]))
        self._parts.append(mark(left, top, colour, shape))

    def markup(self) -> Markup:
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        grid, texts = [], []
        for place, text in self.x.ticks:
            left = _number(self._place([place], [self.y.low])[0][0])
            grid.append(element("path", class_="grid", d=f"M{left},{TOP}V{bottom}"))
            texts.append(element("text", text, x=left, y=bottom + 18, class_="tick middle"))
        for place, text in self.y.ticks:
            top = self._place([self.x.low], [place])[1][0]
            grid.append(element("path", class_="grid", d=f"M{LEFT},{_number(top)}H{right}"))
            texts.append(element("text", text, x=LEFT - 6, y=_number(top + 4), class_="tick end"))
        middle = (TOP + bottom) / 2
        texts.append(element("text", self.x.label, x=(LEFT + right) / 2, y=HEIGHT - 10, class_="label middle"))
        turned = f"rotate(-90 14 {_number(middle)})"
        texts.append(element("text", self.y.label, x=14, y=_number(middle), class_="label middle", transform=turned))
        inner = element(
            "svg", self._parts, x=LEFT, y=TOP, width=right - LEFT, height=bottom - TOP,
            viewBox=f"{LEFT} {TOP} {right - LEFT} {bottom - TOP}", overflow="hidden",
        )  # fmt: skip
        frame = element("path", class_="frame", d=f"M{LEFT},{TOP}V{bottom}H{right}")
        return element(
            "svg", grid, inner, frame, texts,
            viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=self.description, class_="plot",
        )  # fmt: skip

    def _add(self, name: str, class_: str, **attributes: object) -> None:
        self._parts.append(element(name, class_=class_, **attributes))

    def _place(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        across, up = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        left = LEFT + (across - self.x.low) / (self.x.high - self.x.low) * (WIDTH - RIGHT - LEFT)
        top = HEIGHT - BOTTOM - (up - self.y.low) / (self.y.high - self.y.low) * (HEIGHT - BOTTOM - TOP)
        return left, top


def mark(left: float, top: float, colour: str, shape: str = "circle") -> Markup:
    """A mark of some 11 units across at a place of the picture."""
    x, y = _number(left), _number(top)
    if shape == "circle":
        return element("circle", cx=x, cy=y, r=5, class_=f"point {colour}")
    outline = {
        "diamond": "m0,-6.5l6.5,6.5l-6.5,6.5l-6.5,-6.5z",
        "square": "m-5,-5h10v10h-10z",
        "triangle": "m0,-6l6,10.5h-12z",
    }[shape]
    return element("path", d=f"M{x},{y}{outline}", class_=f"point {colour}")


def _path(left: NDArray[np.float64], top: NDArray[np.float64]) -> str:
    """Points at a tenth of a unit, those that fall together drawn once: a curve of millions of trials stays small."""
    points = np.round(np.column_stack([left, top]), 1)
    kept = np.append(True, (points[1:] != points[:-1]).any(axis=1))
    return "M" + "L".join(f"{_number(x)},{_number(y)}" for x, y in points[kept].tolist())


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
