"""The results as a chart."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .peers import CLIENTS, FLOORS, OURS
from .report import Results, middle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS: Final = {
    "get": ("1 KiB GET, 64 at a time", "µs per request", 1e6),
    "get-tls": ("1 KiB GET over TLS, 64 at a time", "µs per request", 1e6),
    "gzip": ("gzip JSON, 119 kB", "µs per request", 1e6),
    "stream": ("{stream_MiB:,} MiB streamed", "ms", 1e3),
    "stream-tls": ("{stream_MiB:,} MiB streamed over TLS", "ms", 1e3),
    "upload": ("{upload_MiB:,} MiB uploaded", "ms", 1e3),
}
FLOOR_NAMES: Final = {
    "bare-streams": "asyncio streams, bare",
    "bare-protocol": "Protocol, bare",
    "bare-buffered": "BufferedProtocol, bare",
}
ACCENT, PEER, FLOOR, INK = "#1f6feb", "#9aa7b8", "#dfe4ea", "#24292f"
SPAN: Final = 4.5
"""Bars longer than so many times the shortest client's are cut off, or the short ones could not be told apart."""


def panel(axes: Axes, results: Results, workload: str) -> None:
    """Draw one workload."""
    samples = results.samples
    title, unit, factor = PANELS[workload]
    names = [name for name in (*CLIENTS, *FLOORS) if middle(samples, workload, name, "cpu") is not None]
    values = {name: (middle(samples, workload, name, "cpu") or 0) * factor for name in names}
    bars(axes, f"{title.format(**results.settings)}: {unit}", values, [name for name in names if name in FLOORS])


def bars(axes: Axes, title: str, values: dict[str, float], floors: Sequence[str] = ()) -> None:
    """Draw one bar for each name, ours in colour and `floors` pale."""
    limit = min(SPAN * min(value for name, value in values.items() if name not in floors), max(values.values()))
    for row, (name, value) in enumerate(values.items()):
        colour = ACCENT if name == OURS else FLOOR if name in floors else PEER
        axes.barh(row, min(value, limit), color=colour, height=0.72)
        text = f"{value:,.0f}" if value >= 20 else f"{value:,.1f}" if value >= 5 else f"{value:,.2f}"
        label = f" {text} ▸" if value > limit else f" {text}"
        weight = "bold" if name == OURS else "normal"
        axes.text(min(value, limit), row, label, va="center", fontsize=8.5, color=INK, fontweight=weight)
    axes.set_yticks(range(len(values)), [FLOOR_NAMES.get(name, name) for name in values], fontsize=8.5, color=INK)
    for tick, name in zip(axes.get_yticklabels(), values, strict=True):
        tick.set_fontweight("bold" if name == OURS else "normal")
    axes.invert_yaxis()
    axes.set_xlim(0, limit * 1.2)
    axes.set_xticks([])
    axes.set_title(title, fontsize=10, loc="left", color=INK)
    axes.tick_params(left=False)
    axes.spines[:].set_visible(False)


def figure(count: int, title: str) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, three in a row."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    columns = min(3, count)
    rows = -(-count // columns)
    drawing, grid = pyplot.subplots(rows, columns, figsize=(4.3 * columns, 0.6 + 2.6 * rows), squeeze=False)
    drawing.suptitle(title, fontsize=12, x=0.01, ha="left", color=INK)
    for axes in list(grid.flat)[count:]:
        axes.set_visible(False)
    return drawing, list(grid.flat)[:count]


def save(drawing: Figure, note: str, path: Path) -> None:
    """Write a PNG, with a line about where the figures come from."""
    from matplotlib import pyplot
    from PIL import Image

    drawing.text(0.01, 0.005, note, fontsize=7.5, color="#57606a")
    drawing.tight_layout(rect=(0, 0.03, 1, 0.98))
    drawn = io.BytesIO()
    drawing.savefig(drawn, dpi=100)
    pyplot.close(drawing)
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)  # a third of the size, and looks the same


def draw(results: Results, path: Path) -> None:
    """Write a PNG of the workloads in `PANELS`; nothing if none of them was run."""
    shown = [
        name for name in PANELS if any(middle(results.samples, name, client, "cpu") is not None for client in CLIENTS)
    ]
    if not shown:
        return
    drawing, panels = figure(len(shown), "CPU time of the client (less is better)")
    for axes, name in zip(panels, shown, strict=True):
        panel(axes, results, name)
    about = results.machine
    note = (
        f"{results.date[:10]} · {about['cpu']}, one core for the client · {about['kernel']} · {about['python']}"
        " · pale bars: floors without HTTP checks · ▸: cut off"
    )
    save(drawing, note, path)
