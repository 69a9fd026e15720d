"""The command line of the benchmark, and its rounds."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

from . import imports, proxies
from .bars import judge
from .chart import draw
from .contents import Targets
from .measure import Sample, raise_file_limit
from .peers import BEFORE, BEFORE_PATH, PEERS, SLOW
from .report import Results, markdown, seconds, table, verdict_table
from .server import nginx_version, serve
from .workloads import WORKLOADS, Plan, Workload

RESULTS = Path(__file__).parent / "results"
CHILD_TIMEOUT = 180


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="aiohttpconn and its peers, side by side."
    )
    parser.add_argument("--rounds", type=int, help="how often every client takes its turn (default 5; quick: 1)")
    parser.add_argument("--only", help=f"workloads, with commas between: {','.join(WORKLOADS)}")
    parser.add_argument("--peers", help=f"clients and floors, with commas between: {','.join(PEERS)}")
    parser.add_argument("--before", type=Path, help="an older checkout of aiohttpconn, measured beside this one")
    parser.add_argument("--quick", action="store_true", help="less of everything: in three minutes, and less exact")
    parser.add_argument("--client-core", type=int, default=0, help="the core that is measured")
    parser.add_argument("--server-core", type=int, default=1, help="the core that serves")
    parser.add_argument(
        "--output", type=Path, help="where the results go, without a suffix (default: results/latest; partial: partial)"
    )
    options = parser.parse_args()
    options.partial = bool(options.only or options.peers or options.quick or options.before)
    options.only = chosen(parser, options.only, WORKLOADS)
    options.peers = chosen(parser, options.peers, (*PEERS, imports.STANDARD_LIBRARY))
    if options.before:
        if not (options.before / "aiohttpconn" / "__init__.py").exists():
            parser.error(f"no checkout of aiohttpconn: {options.before}")
        os.environ[BEFORE_PATH] = str(options.before.absolute())
        options.peers.append(BEFORE)
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.output = options.output or RESULTS / ("partial" if options.partial else "latest")
    if not {options.client_core, options.server_core} <= os.sched_getaffinity(0):
        parser.error("needs two cores: see --client-core and --server-core")
    return options


def chosen(parser: argparse.ArgumentParser, text: str | None, known: Sequence[str] | dict[str, Workload]) -> list[str]:
    names = text.split(",") if text else list(known)
    if unknown := set(names) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return names


def child(job: dict[str, object]) -> dict[str, object]:
    """Do a job in a process of its own; `RuntimeError` if it fails."""
    command = [sys.executable, "-m", "benchmarks.child", json.dumps(job)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CHILD_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"not done within {CHILD_TIMEOUT} s") from None
    if run.returncode:
        raise RuntimeError((run.stderr.strip().splitlines() or [f"status {run.returncode}"])[-1])
    result: dict[str, object] = json.loads(run.stdout.splitlines()[-1])
    return result


def probe(names: list[str], core: int, results: Results) -> list[str]:
    """Those that can be measured; their versions, or why not, go into `results`."""
    found: list[str] = []
    for name in names:
        if name == imports.STANDARD_LIBRARY:
            found.append(name)
            continue
        answer = child({"core": core, "probe": name})
        if "unavailable" in answer:
            results.notes.append(f"{name} was left out: {answer['unavailable']}")
            print(results.notes[-1], file=sys.stderr)
            continue
        found.append(name)
        if not name.startswith("bare-"):
            results.versions[name] = str(answer["version"])
    return found


def able(names: list[str], results: Results) -> list[str]:
    """The workloads whose proxies are installed; why not the others goes into `results`."""
    found: list[str] = []
    for name in names:
        scheme = WORKLOADS[name].proxy
        if scheme is not None and (missing := proxies.missing(scheme)):
            results.notes.append(f"{name} was left out: {' and '.join(missing)} must be installed for it")
            print(results.notes[-1], file=sys.stderr)
        else:
            found.append(name)
    return found


def measure(workload: Workload, peer: str, core: int, targets: Targets, plan: Plan) -> Sample:
    """One measurement."""
    if workload.run is None:
        return imports.measure(peer, core)
    if peer in SLOW:
        plan = Plan(plan.seconds / 2, plan.origins // 10)
    job = {
        "core": core,
        "workload": workload.name,
        "peer": peer,
        "targets": asdict(targets),
        "plan": asdict(plan),
    }
    return Sample(**child(job))  # type: ignore[arg-type]


def take_turns(
    workload: Workload, peers: list[str], passes: int, core: int, targets: Targets, plan: Plan, results: Results
) -> None:
    """Every peer so many times, in turn."""
    rounds = results.samples.setdefault(workload.name, {peer: [] for peer in peers})
    for peer in peers * passes:
        sample: Sample | None = None
        try:
            sample = measure(workload, peer, core, targets, plan)
        except RuntimeError as error:
            results.notes.append(f"{workload.name}, {peer}: {error}")
        rounds[peer].append(sample)
        figure = f"{seconds(sample.cpu)} CPU" if sample else results.notes[-1]
        print(f"{time.strftime('%H:%M:%S')} {workload.name:12} {peer:14} {figure}", file=sys.stderr, flush=True)


def main() -> None:
    options = arguments()
    mebibyte = 1 << 20
    stream, chunked, upload, tunnel, plan = 1024, 100, 256, 256, Plan(seconds=1.0, origins=20_000)
    if options.quick:
        stream, chunked, upload, tunnel, plan = 256, 32, 64, 64, Plan(seconds=0.25, origins=4_000)
    results = Results(
        settings={
            "rounds": options.rounds,
            "seconds": plan.seconds,
            "stream_MiB": stream,
            "chunked_MiB": chunked,
            "upload_MiB": upload,
            "tunnel_MiB": tunnel,
            "origins": plan.origins,
        },
        versions={},
    )
    core = options.client_core
    available = probe(options.peers, core, results)
    results.versions |= {"uvloop": version("uvloop"), "nginx": nginx_version()}
    files = raise_file_limit()
    sizes = (size * mebibyte for size in (stream, chunked, upload, tunnel))
    names = able(options.only, results)
    schemes = {scheme for name in names if (scheme := WORKLOADS[name].proxy)}
    with (
        serve(options.server_core, files, *sizes) as served,
        proxies.serve(schemes, options.server_core, served.certificate) as urls,
    ):
        targets = replace(served, proxies=urls)
        for _ in range(options.rounds):
            for name in names:
                workload = WORKLOADS[name]
                peers = [peer for peer in workload.peers if peer in available]
                if BEFORE in available and workload.run is not None:
                    peers.append(BEFORE)
                passes = -(-workload.least // options.rounds)
                take_turns(workload, peers, passes, core, targets, plan, results)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.with_suffix(".json").write_text(results.as_json())
    options.output.with_suffix(".md").write_text(markdown(results))
    draw(results, options.output.with_suffix(".png"))
    print("\n".join(verdict_table(judge(results.samples)) if results.samples else table(["nothing"], [])))
    print(f"\n{options.output.with_suffix('.md')}")


if __name__ == "__main__":
    main()
