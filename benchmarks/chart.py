"""The results as a chart."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .peers import CLIENTS, FLOORS, OURS
from .report import Results, middle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    values = [(middle(samples, workload, name, "cpu") or 0) * factor for name in names]
    clients = [value for name, value in zip(names, values, strict=True) if name in CLIENTS]
    limit = min(SPAN * min(clients), max(values))
    for row, (name, value) in enumerate(zip(names, values, strict=True)):
        colour = ACCENT if name == OURS else PEER if name in CLIENTS else FLOOR
        axes.barh(row, min(value, limit), color=colour, height=0.72)
        text = f"{value:,.0f}" if value >= 20 else f"{value:,.1f}"
        label = f" {text} ▸" if value > limit else f" {text}"
        weight = "bold" if name == OURS else "normal"
        axes.text(min(value, limit), row, label, va="center", fontsize=8.5, color=INK, fontweight=weight)
    axes.set_yticks(range(len(names)), [FLOOR_NAMES.get(name, name) for name in names], fontsize=8.5, color=INK)
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        tick.set_fontweight("bold" if name == OURS else "normal")
    axes.invert_yaxis()
    axes.set_xlim(0, limit * 1.2)
    axes.set_xticks([])
    axes.set_title(f"{title.format(**results.settings)}: {unit}", fontsize=10, loc="left", color=INK)
    axes.tick_params(left=False)
    axes.spines[:].set_visible(False)


def draw(results: Results, path: Path) -> None:
    """Write a PNG of the workloads in `PANELS`; nothing if none of them was run."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    shown = [
        name for name in PANELS if any(middle(results.samples, name, client, "cpu") is not None for client in CLIENTS)
    ]
    if not shown:
        return
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure, grid = pyplot.subplots(rows, columns, figsize=(4.3 * columns, 0.6 + 2.6 * rows), squeeze=False)
    for axes, name in zip(grid.flat, shown, strict=False):
        panel(axes, results, name)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_visible(False)
    about = results.machine
    figure.suptitle("CPU time of the client (less is better)", fontsize=12, x=0.01, ha="left", color=INK)
    figure.text(
        0.01,
        0.005,
        f"{results.date[:10]} · {about['cpu']}, one core for the client · {about['kernel']} · {about['python']}"
        " · pale bars: floors without HTTP checks · ▸: cut off",
        fontsize=7.5,
        color="#57606a",
    )
    figure.tight_layout(rect=(0, 0.03, 1, 0.98))
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100)
    pyplot.close(figure)
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)  # a third of the size, and looks the same
