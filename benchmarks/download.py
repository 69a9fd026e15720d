"""Downloads, side by side with aria2c and curl: ``python -m benchmarks.download``.

A file of 1 GiB over one connection and over eight, and 64 files of 16 MiB, eight at a time, from nginx on loopback.
Each run is a process of its own, measured from its start to its end. They take turns; nginx is pinned to one core.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

MIB = 1 << 20
PROGRAMS = ("aria2c", "curl")
CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {root}/nginx.pid;
error_log {root}/error.log crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    server {{ listen 127.0.0.1:{port}; root {root}/www; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One run: seconds of wall clock and CPU, and the peak of resident memory in bytes. `growth`: bytes by which that
    is above what our process had when it began to download; None for the others."""

    wall: float
    cpu: float
    memory: int
    growth: int | None


# --- our side, in a process of its own --------------------------------------------------------------------------------


async def fetch(base: str, folder: str, kind: str) -> None:
    import aiohttpconn.download  # noqa: F401 - what is loaded is not what a download takes
    from aiohttpconn import Client

    async with Client(trust_env=False) as client:
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the highest is that of now
        if kind == "many":
            items = [(f"{base}/{number}", str(number)) for number in range(64)]
            for result in await client.download_all(items, concurrency=8, directory=folder):
                result.unwrap()
        else:
            await client.download(f"{base}/large", os.path.join(folder, "large"), segments=int(kind))
        print(max(0, resident("VmHWM") - before))


def resident(name: str) -> int:
    """A figure of this process's memory, in bytes: "VmRSS" is that of now, "VmHWM" the highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


def ours(kind: str) -> Callable[[str, str], Sequence[str]]:
    return lambda base, folder: [sys.executable, "-m", "benchmarks.download", "--child", base, folder, kind]


# --- the others -------------------------------------------------------------------------------------------------------


def aria2c(connections: int) -> Callable[[str, str], Sequence[str]]:
    options = [f"-x{connections}", f"-s{connections}", "-k1M", "--file-allocation=none"]
    return lambda base, folder: ["aria2c", "-q", "--no-conf", *options, "-d", folder, f"{base}/large"]


def aria2c_many(base: str, folder: str) -> Sequence[str]:
    listing = Path(folder) / "list"
    listing.write_text("".join(f"{base}/{number}\n" for number in range(64)))
    return ["aria2c", "-q", "--no-conf", "-j8", "-x1", "--file-allocation=none", "-d", folder, "-i", str(listing)]


def curl(base: str, folder: str) -> Sequence[str]:
    return ["curl", "-q", "-s", "-o", f"{folder}/large", f"{base}/large"]


def curl_many(base: str, folder: str) -> Sequence[str]:
    return ["curl", "-q", "-s", "-Z", "--parallel-max", "8", "-o", f"{folder}/#1", f"{base}/[0-63]"]


CONTENDERS: dict[str, dict[str, Callable[[str, str], Sequence[str]]]] = {
    "1 GiB, one connection": {"aiohttpconn": ours("1"), "aria2c -x1": aria2c(1), "curl": curl},
    "1 GiB, 8 segments": {"aiohttpconn": ours("8"), "aria2c -x8": aria2c(8), "curl": curl},
    "64 × 16 MiB, 8 at a time": {"aiohttpconn": ours("many"), "aria2c -j8": aria2c_many, "curl -Z": curl_many},
}
BARS = (
    ("1 GiB, one connection", "aria2c -x1", 0.9),
    ("1 GiB, one connection", "curl", 1.2),
    ("1 GiB, 8 segments", "aria2c -x8", 0.9),
    ("1 GiB, 8 segments", "curl", 1.2),
    ("64 × 16 MiB, 8 at a time", "aria2c -j8", 1.0),
)
MOST_MEMORY = 80 * MIB
MOST_GROWTH = 8 * MIB
"""For one file, however large."""
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""As a user has it: compiled once."""


def measure(command: Sequence[str], expected: int, folder: str) -> Run:
    """Run a command to its end; RuntimeError if it did not bring all bytes."""
    began = time.perf_counter()
    child = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    with child.stdout:
        said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    size = sum(path.stat().st_size for path in Path(folder).iterdir() if path.name != "list")
    if child.returncode or size != expected:
        raise RuntimeError(f"{command[0]}: status {child.returncode}, {size} bytes instead of {expected}")
    return Run(
        wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, int(said) if said.strip().isdigit() else None
    )


def serve(root: Path, core: int) -> tuple[subprocess.Popen[bytes], str]:
    import socket

    from .server import nginx_path  # here, because it costs the child 100 ms

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = "user root;" if os.getuid() == 0 else ""
    (root / "nginx.conf").write_text(CONFIGURATION.format(root=root, port=port, user=user))
    nginx = subprocess.Popen(
        ["taskset", "-c", str(core), nginx_path(), "-e", str(root / "error.log"), "-c", str(root / "nginx.conf")]
    )
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.01)
    return nginx, f"http://127.0.0.1:{port}"


def write_files(folder: Path, large: int, small: int) -> None:
    folder.mkdir()
    block = os.urandom(MIB)
    for name, size in [("large", large), *((str(number), small) for number in range(64))]:
        with (folder / name).open("wb") as file:
            for _ in range(size // MIB):
                file.write(block)


def versions() -> dict[str, str]:
    """Of the programs, as they say them."""
    from .server import nginx_version

    said = {name: subprocess.run([name, "--version"], capture_output=True, text=True, check=True) for name in PROGRAMS}
    found = {name: re.search(r"\d+(\.\d+)+", each.stdout) for name, each in said.items()}
    return {"nginx": nginx_version()} | {name: match[0] for name, match in found.items() if match}


def report(runs: dict[str, dict[str, list[Run]]]) -> None:
    from .server import nginx_version

    print(f"\nnginx {nginx_version()}; medians of the rounds; load {os.getloadavg()[0]:.1f}\n")
    print("| | | wall | CPU | peak memory |\n|---|---|---:|---:|---:|")
    for task, contenders in runs.items():
        for name, rounds in contenders.items():
            wall, cpu = median(run.wall for run in rounds), median(run.cpu for run in rounds)
            # A process's peak begins with that of the one it came from, this one: it says nothing of small programs.
            memory = f"{max(run.memory for run in rounds) / MIB:.0f} MiB" if name == "aiohttpconn" else ""
            print(f"| {task} | {name} | {wall:.2f} s | {cpu:.2f} s | {memory} |")
    print("\n| bar | reached | met |\n|---|---:|---|")
    for task, peer, limit in BARS:
        pairs = zip(runs[task]["aiohttpconn"], runs[task][peer], strict=True)
        reached = median(mine.wall / theirs.wall for mine, theirs in pairs)
        met = "yes" if reached <= limit else "**no**"
        print(f"| {task}: wall ≤ {limit} × {peer} | {reached:.2f} | {met} |")
    memory = max(run.memory for contenders in runs.values() for run in contenders["aiohttpconn"])
    print(f"| peak memory ≤ 80 MiB | {memory / MIB:.0f} MiB | {'yes' if memory <= MOST_MEMORY else '**no**'} |")
    for task in (each for each in runs if each.startswith("1 GiB")):
        growth = max(run.growth or 0 for run in runs[task]["aiohttpconn"])
        met = "yes" if growth < MOST_GROWTH else "**no**"
        print(f"| {task}: growth of memory < 8 MiB | {growth / MIB:.1f} MiB | {met} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.download", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=1024, help="MiB of the large file")
    parser.add_argument("--small", type=int, default=16, help="MiB of each of the 64 files")
    parser.add_argument("--directory", help="where the files are written and read (default: the system's for such)")
    parser.add_argument("--server-core", type=int, default=1)
    parser.add_argument("--output", type=Path, help="a file for all figures, as JSON")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        import uvloop

        uvloop.run(fetch(*options.child))
        return
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        parser.error(f"not installed: {', '.join(missing)}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    large, small = options.large * MIB, options.small * MIB
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        root = Path(name)
        root.chmod(0o755)
        write_files(root / "www", large, small)
        nginx, base = serve(root, options.server_core)
        subprocess.run([sys.executable, "-c", "import aiohttpconn.download"], env=ENVIRONMENT, check=True)
        runs: dict[str, dict[str, list[Run]]] = {task: {name: [] for name in them} for task, them in CONTENDERS.items()}
        try:
            for _ in range(options.rounds):
                for task, contenders in CONTENDERS.items():
                    for peer, command in contenders.items():
                        folder = str(root / "out")
                        os.mkdir(folder)
                        expected = 64 * small if task.startswith("64") else large
                        run = measure(command(base, folder), expected, folder)
                        runs[task][peer].append(run)
                        shutil.rmtree(folder)
                        print(f"{task:26} {peer:12} {run.wall:6.2f} s wall {run.cpu:6.2f} s CPU", file=sys.stderr)
        finally:
            nginx.terminate()
            nginx.wait()
    report(runs)
    if options.output:
        rounds = {
            task: {name: [asdict(run) for run in each] for name, each in them.items()} for task, them in runs.items()
        }
        options.output.write_text(json.dumps({"versions": versions(), "rounds": rounds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
