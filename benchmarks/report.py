"""The results as JSON and Markdown."""

from __future__ import annotations

import datetime
import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from .bars import Samples, Verdict, judge, ratios
from .measure import Sample
from .peers import OURS
from .workloads import WORKLOADS


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": str(os.cpu_count()),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": f"{os.getloadavg()[0]:.2f}",
    }


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


@dataclass(slots=True)
class Results:
    """Everything that one run found out. `notes` says what was left out or failed, and why."""

    settings: dict[str, object]
    versions: dict[str, str]
    samples: dict[str, dict[str, list[Sample | None]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    date: str = field(default_factory=now)
    machine: dict[str, str] = field(default_factory=machine)

    def as_json(self) -> str:
        content = {
            "date": self.date,
            "machine": self.machine,
            "versions": self.versions,
            "settings": self.settings,
            "bars": [
                {**asdict(verdict.bar), "reached": verdict.reached, "met": verdict.met}
                for verdict in judge(self.samples)
            ],
            "notes": self.notes,
            "samples": {
                workload: {peer: [asdict(each) if each else None for each in rounds] for peer, rounds in peers.items()}
                for workload, peers in self.samples.items()
            },
        }
        return json.dumps(content, indent=1) + "\n"


def middle(samples: Samples, workload: str, peer: str, figure: str) -> float | None:
    """The median of a figure over the rounds."""
    found = ratios(samples, workload, figure, None, peer)
    return median(found) if found else None


def seconds(value: float | None) -> str:
    """A time in the unit that suits it."""
    if value is None:
        return ""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if value * factor >= 1:
            return f"{value * factor:,.2f} {unit}" if value * factor < 10 else f"{value * factor:,.0f} {unit}"
    return f"{value * 1e6:,.1f} µs" if value < 1e-4 else f"{value * 1e6:,.0f} µs"


def kibibytes(value: float | None) -> str:
    return "" if value is None else f"{value / 1024:,.1f} KiB" if value < 102400 else f"{value / 1024:,.0f} KiB"


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table, the first column left, the others right, without columns that are empty."""
    kept = [n for n in range(len(header)) if n == 0 or any(row[n] for row in rows)]
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return ["| " + " | ".join(line[n] for n in kept) + " |" for line in lines]


def verdict_table(verdicts: list[Verdict]) -> list[str]:
    rows: list[list[str]] = []
    for verdict in verdicts:
        bar = verdict.bar
        reached = "not measured" if verdict.reached is None else f"{verdict.reached:,.{0 if bar.limit > 100 else 2}f}"
        met = {None: "–", True: "yes", False: "**no**"}[verdict.met]
        rows.append([WORKLOADS[bar.workload].title, str(bar), reached, met])
    return table(["workload", "bar", "reached", "met"], rows)


def workload_table(samples: Samples, name: str) -> list[str]:
    """All figures of one workload."""
    workload = WORKLOADS[name]
    rows: list[list[str]] = []
    for peer in samples[name]:

        def figure(which: str, peer: str = peer) -> float | None:
            return middle(samples, name, peer, which)

        wall, size = figure("wall"), figure("size")
        against = ratios(samples, name, "cpu", peer) if peer != OURS else []
        growth, each = figure("growth"), figure("each")
        rows.append(
            [
                peer,
                seconds(figure("cpu")) or "failed",
                f"{median(against):.2f}" if against else "",
                f"{1 / wall:,.0f}" if wall and workload.operation == "request" else "",
                f"{size / wall / 1e6:,.0f}" if wall and size and workload.operation == "transfer" else "",
                seconds(wall) if workload.operation == "import" else "",
                seconds(figure("p50")),
                seconds(figure("p99")),
                kibibytes(figure("memory")) if each is None else "",
                kibibytes(each),
                f"{growth:.2f}" if growth else "",
            ]
        )
    header = [
        "",
        f"CPU per {workload.operation}",
        f"{OURS}: CPU × this",
        "requests/s",
        "MB/s",
        "wall",
        "p50",
        "p99",
        "peak memory growth",
        "resident memory each",
        "CPU, last quarter / first",
    ]
    return [f"### `{name}`: {workload.title}", "", *table(header, rows)]


def markdown(results: Results) -> str:
    """The report."""
    about = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in results.settings.items())
    lines = [
        "# Benchmark",
        "",
        f"{results.date}. {about['cpu']}, {about['cores']} cores (load {about['load']} at the start), "
        f"{about['kernel']}, {about['python']}.",
        "",
        f"Versions: {versions}.",
        "",
        f"Settings: {settings}.",
        "",
        "Each measurement is a process of its own, pinned to one core; the servers have another. CPU is user and "
        "system time of all of a process's threads. All clients and floors run on uvloop. They took turns, round after "
        "round: figures are medians over the rounds, ratios are medians of each round's ratio. The size of every "
        "response was checked.",
        "",
        "## Bars",
        "",
        *verdict_table(judge(results.samples)),
        "",
        "## Figures",
    ]
    for name in results.samples:
        lines += ["", *workload_table(results.samples, name)]
    if results.notes:
        lines += ["", "## Notes", "", *(f"- {note}" for note in results.notes)]
    return "\n".join(lines) + "\n"
