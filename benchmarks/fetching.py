"""Downloads, maps and crawls beside other programs, with their chart: ``python -m benchmarks.fetching``.

Runs `benchmarks.download` and `benchmarks.bulk` one after the other, and writes what they found as JSON, what
they printed as Markdown, and a chart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Final

from .bulk.__main__ import NAMES
from .chart import bars, figure, save
from .peers import OURS
from .report import machine, now

RESULTS: Final = Path(__file__).parent / "results" / "fetching"
RUNS: Final = {"downloads": ["download"], "map": ["bulk", "map"], "crawl": ["bulk", "crawl"]}
PAGES: Final = {"map": "client.map, 2,000 origins: µs a page", "crawl": "a crawl of 20,000 pages: µs a page"}


def run(name: str, options: list[str]) -> tuple[dict[str, Any], str]:
    """One of the commands; its figures, and what it printed."""
    with tempfile.NamedTemporaryFile() as file:
        module, *kind = RUNS[name]
        command = [sys.executable, "-m", f"{__package__}.{module}", *kind, *options, "--output", file.name]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        found: dict[str, Any] = json.load(file)
        return found, printed.strip()


def panels(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """What the chart shows: title → client → figure."""
    shown: dict[str, dict[str, float]] = {}
    downloads = found["downloads"]["rounds"]
    for task in downloads:
        shown[f"{task}: s"] = {name: median(run["wall"] for run in rounds) for name, rounds in downloads[task].items()}
    for kind, title in PAGES.items():
        rounds = found[kind]["rounds"]
        shown[title] = {
            NAMES[name]: median(one["wall"] / one["pages"] for one in rounds[name]) * 1e6 for name in rounds
        }
    return shown


def draw(found: dict[str, Any], path: Path) -> None:
    """Write the chart."""
    shown = panels(found)
    drawing, axes = figure(len(shown), "Wall time (less is better)")
    for each, (title, values) in zip(axes, shown.items(), strict=True):
        bars(each, title, values)
    about = found["machine"]
    save(drawing, f"{found['date'][:10]} · {about['cpu']} · {about['kernel']} · {about['python']} · ▸: cut off", path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fetching", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", help="where files are written and read (default: the system's for such)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the results go, without a suffix")
    options = parser.parse_args()
    found: dict[str, Any] = {"date": now(), "machine": machine()}
    texts = [f"# Downloads, maps and crawls: {OURS} and others, {found['date']}"]
    for name in RUNS:
        directory = ["--directory", options.directory] if name == "downloads" and options.directory else []
        found[name], text = run(name, ["--rounds", str(options.rounds), *directory])
        versions = ", ".join(f"{program} {version}" for program, version in found[name]["versions"].items())
        texts.append(f"## {name}\n\n{versions}.\n\n{text}")
    options.output.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    options.output.with_suffix(".md").write_text("\n\n".join(texts) + "\n")
    draw(found, options.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
