"""Draws the charts of a report as SVG that takes its text color from the page, so that it suits light and dark."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Two colors that nothing else has: they stand for those of the page.
INK, GRID = '#0a0b0c', '#0a0b0d'
COLORS = ('#2f81f7', '#e8590c', '#2da44e', '#a371f7', '#bf8700', '#db61a2', '#1b9e9e', '#8c6d5a')
"""Colors of lines and bars, readable on white and on black."""
GRAY = '#8b949e'
LEGEND = 58
"""Characters in a line of a legend."""
MOST_CLASSES = 24
"""Charts show at most this many classes; tables show all."""
_STYLE = {
    'svg.fonttype': 'none', 'svg.hashsalt': 'mmdmt', 'font.size': 11, 'text.color': INK, 'axes.labelcolor': INK,
    'axes.edgecolor': GRAY, 'xtick.color': INK, 'ytick.color': INK, 'grid.color': GRID, 'axes.grid': True,
    'axes.axisbelow': True, 'axes.spines.top': False, 'axes.spines.right': False, 'legend.frameon': False,
    'legend.fontsize': 10, 'path.simplify': True, 'path.simplify_threshold': 0.6,
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A line of a chart; ``dashed`` ones are references."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: str
    dashed: bool = False
    marker: bool = True


def lines(series: Sequence[Line], xlabel: str, ylabel: str, whole_x: bool = True, levels: Sequence[Line] = ()) -> str:
    """Draw lines over a common axis; ``levels`` are horizontal: the first ``y`` of each, across the whole chart."""
    with _axes() as (figure, axes):
        for line in series:
            axes.plot(
                line.x, line.y, label=line.name, color=line.color, linestyle='--' if line.dashed else '-',
                marker='o' if line.marker and len(line.x) < 40 else None, markersize=4, linewidth=1.6,
            )  # fmt: skip
        for line in levels:
            axes.axhline(line.y[0], label=line.name, color=line.color, linestyle='--', linewidth=1.2)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if whole_x:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(axes, len(series) + len(levels))
        return _svg(figure)


def bars(names: Sequence[str], groups: Mapping[str, Sequence[float]], xlabel: str) -> str:
    """Draw horizontal bars for each name, one of each group; at most ``MOST_CLASSES`` names, the first ones."""
    names = names[:MOST_CLASSES]
    thick = 0.8 / max(1, len(groups))
    with _axes(height=1.2 + 0.08 * len(names) * (1 + len(groups))) as (figure, axes):
        for place, (title, values) in enumerate(groups.items()):
            positions = [index + (place - (len(groups) - 1) / 2) * thick for index in range(len(names))]
            axes.barh(
                positions, values[: len(names)], height=thick * 0.9, color=COLORS[place % len(COLORS)], label=title
            )
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel(xlabel)
        axes.grid(visible=False, axis='y')
        _legend(axes, len(groups))
        return _svg(figure)


def change(
    names: Sequence[str], first: Sequence[float], last: Sequence[float], labels: tuple[str, str], xlabel: str
) -> str:
    """Draw for each name a line from its first value to its last one; at most ``MOST_CLASSES`` names."""
    names = names[:MOST_CLASSES]
    with _axes(height=1.0 + 0.24 * len(names)) as (figure, axes):
        for index in range(len(names)):
            color = COLORS[2] if last[index] >= first[index] else COLORS[1]
            axes.plot([first[index], last[index]], [index, index], color=color, linewidth=2)
        places = range(len(names))
        axes.scatter(first[: len(names)], places, s=26, facecolors='none', edgecolors=GRAY, label=labels[0], zorder=3)
        axes.scatter(last[: len(names)], places, s=26, color=COLORS[0], label=labels[1], zorder=3)
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.set_xlabel(xlabel)
        axes.grid(visible=False, axis='y')
        _legend(axes, 2)
        return _svg(figure)


def errors_by_confidence(
    bins: Sequence[str], shares: Sequence[float], errors: Mapping[str, Sequence[float]], unit: str
) -> str:
    """Draw the share of labels in each bin of confidence as bars, and the error rates of each series as lines.

    Args:
        bins: Names of the bins.
        shares: Share of the labels in each bin, in percent, of the last series.
        errors: Series -> error rate in each bin, in percent; NaN for a bin without labels.
        unit: What is labeled, such as ``pixels``.
    """
    with _axes(height=3.8) as (figure, axes):
        axes.bar(range(len(bins)), shares, color=GRAY, alpha=0.35, label=f'share of the {unit} (last)')
        for place, (name, values) in enumerate(errors.items()):
            late = place == len(errors) - 1
            axes.plot(
                range(len(bins)), values, marker='o', markersize=4, color=COLORS[1 if late else 0], label=name,
                alpha=1 if late else 0.35 + 0.5 * place / max(1, len(errors)), linewidth=1.8 if late else 1.2,
            )  # fmt: skip
        axes.set_xticks(range(len(bins)), bins, rotation=40, ha='right')
        axes.set(xlabel='confidence of the teacher', ylabel='%', ylim=(0, 100))
        _legend(axes, len(errors) + 1)
        return _svg(figure)


@contextmanager
def _axes(height: float = 3.1) -> Iterator[tuple[Figure, Axes]]:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.9, height), layout='constrained')
        yield figure, figure.add_subplot()


def _legend(axes: Axes, entries: int) -> None:
    """A legend above the chart, where it hides nothing."""
    names = axes.get_legend_handles_labels()[1]
    if entries > 1:
        columns = max(1, min(3, LEGEND // (max(map(len, names)) + 6)))
        axes.legend(loc='lower left', bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2, columnspacing=1.2)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format='svg', transparent=True, metadata={'Date': None})
    drawing = text.getvalue()
    drawing = drawing[drawing.index('<svg') :]
    return drawing.replace(INK, 'currentColor').replace(GRID, 'var(--grid)')
