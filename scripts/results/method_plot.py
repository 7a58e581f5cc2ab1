"""Accuracy against size as an SVG file: the same bytes for the same results."""

import importlib.util
import io
from dataclasses import dataclass

from method_rows import BY_NAME, ROWS
from method_store import Store

LINE = 0.026  # height of a label as a share of the axis
WIDTH = 0.17  # and its width, within which two labels must not meet


@dataclass
class Point:
    """The mean over a row's seeds, in percent and as a ratio of sizes."""

    name: str
    size: float
    accuracy: float
    below: float
    above: float


def style_of(name: str) -> tuple[str, str]:
    """Marker and colour of a row."""
    if BY_NAME[name].floating:
        return "s", "black"
    return ("^", "C1") if BY_NAME[name].peer else ("o", "C0")


def points(store: Store) -> list[Point]:
    """Of all rows whose files have a size and that are a float model or start from one shown."""
    found = []
    for row in ROWS:
        if not row.shares_float and not row.floating:
            continue
        entries = [entry for entry in store.of(row) if entry["size_ratio"] is not None]
        if not entries:
            continue
        sizes = [entry["size_ratio"] or 0.0 for entry in entries]
        values = [100 * entry["int8_accuracy"] for entry in entries]
        mean = sum(values) / len(values)
        found.append(
            Point(
                row.name,
                sum(sizes) / len(sizes),
                mean,
                mean - min(values),
                max(values) - mean,
            )
        )
    return found


def label_heights(places: list[tuple[float, float]]) -> list[float]:
    """Heights for the labels of points at (x, y), shares of the axes, so that none meet.

    From the top down each label is moved below those that it would lie upon.
    """
    heights = [y for _, y in places]
    done: list[int] = []
    for index in sorted(range(len(places)), key=lambda i: (-places[i][1], i)):
        x, height = places[index]
        near = [heights[i] for i in done if abs(places[i][0] - x) < WIDTH]
        for other in sorted(near, reverse=True):
            if abs(other - height) < LINE:
                height = other - LINE
        heights[index] = height
        done.append(index)
    return heights


def svg(store: Store) -> str:
    """The file's text. Raises SystemExit naming matplotlib where it is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SystemExit("--plot needs the package matplotlib: pip install matplotlib")
    importlib.import_module("matplotlib").use("svg")
    plt = importlib.import_module("matplotlib.pyplot")
    # Text as text, and names of elements that do not change from run to run.
    style = {"svg.fonttype": "none", "svg.hashsalt": "qat", "font.size": 8}
    found = points(store)
    with plt.rc_context(style):
        figure, axes = plt.subplots(figsize=(9, 6.5))
        for point in found:
            axes.errorbar(
                point.size,
                point.accuracy,
                yerr=[[point.below], [point.above]],
                fmt=style_of(point.name)[0],
                color=style_of(point.name)[1],
                markersize=4,
                linewidth=0.8,
                capsize=2,
            )
        axes.set_xscale("log", base=2)
        axes.set_xlabel("size of the file, by that of the float model")
        axes.set_ylabel("test accuracy, %")
        axes.set_title("Fashion-MNIST, ResNet-8: mean, smallest and largest; triangles: peers")
        axes.set_xlim(right=1.6)
        ticks = [2.0**-power for power in range(5)]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.grid(linewidth=0.3)
        to_axes = axes.transData + axes.transAxes.inverted()
        places = [tuple(to_axes.transform((p.size, p.accuracy))) for p in found]
        for point, (x, y), height in zip(found, places, label_heights(places)):
            axes.annotate(
                point.name,
                (x, y),
                (x + 0.02, height),
                xycoords="axes fraction",
                textcoords="axes fraction",
                verticalalignment="center",
                arrowprops={
                    "arrowstyle": "-",
                    "linewidth": 0.3,
                    "color": "grey",
                    "relpos": (0, 0.5),
                    "shrinkA": 0,
                },
            )
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    return "\n".join(text.rstrip() for text in buffer.getvalue().splitlines()) + "\n"
