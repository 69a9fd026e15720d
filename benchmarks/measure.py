"""What one measurement is, and how it is taken: CPU, wall clock, latency and memory of this process."""

from __future__ import annotations

import gc
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType


@dataclass(slots=True)
class Sample:
    """One measurement of one client at one workload.

    - `operations`: how many requests, or transfers, were measured.
    - `cpu`, `wall`: seconds per operation; `cpu` is user and system time of all the process's threads.
    - `size`: bytes of the body of one operation.
    - `p50`, `p99`: latency in seconds, where it was taken.
    - `memory`: bytes by which resident memory peaked above what it was before.
    - `extra`: figures of this workload only.
    """

    operations: int
    cpu: float
    wall: float
    size: int = 0
    p50: float | None = None
    p99: float | None = None
    memory: int | None = None
    extra: dict[str, float] = field(default_factory=dict)

    def figure(self, name: str) -> float | None:
        """The figure of that name, `extra` ones included."""
        value: float | None = self.extra[name] if name in self.extra else getattr(self, name, None)
        return value


def cpu_seconds() -> float:
    """CPU that this process, all its threads included, has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def status_bytes(name: str) -> int:
    """A memory figure of this process: ``VmRSS`` (resident) or ``VmHWM`` (its peak)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def resident() -> int:
    """Resident memory after a garbage collection."""
    gc.collect()
    return status_bytes("VmRSS")


def raise_file_limit(wanted: int = 65536) -> int:
    """Let this process (and its children) open many files; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


def percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Meter:
    """``with Meter() as meter: ...`` measures the block."""

    cpu = wall = 0.0
    memory = 0

    def __enter__(self) -> Meter:
        before = resident()
        # 5 sets the peak back to what is resident now (proc_pid_clear_refs(5)); ru_maxrss could not be, and
        # begins at the parent's.
        Path("/proc/self/clear_refs").write_text("5")
        self._resident = before
        self._wall = time.perf_counter()
        self._cpu = cpu_seconds()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cpu = cpu_seconds() - self._cpu
        self.wall = time.perf_counter() - self._wall
        self.memory = max(0, status_bytes("VmHWM") - self._resident)

    def sample(self, operations: int, size: int = 0, latencies: Sequence[float] | None = None) -> Sample:
        """The measurement, per operation."""
        sample = Sample(operations, self.cpu / operations, self.wall / operations, size, memory=self.memory)
        if latencies:
            ordered = sorted(latencies)
            sample.p50, sample.p99 = percentile(ordered, 0.5), percentile(ordered, 0.99)
        return sample


def pin(core: int) -> None:
    """Keep this process, and every thread that it will start, on one core."""
    os.sched_setaffinity(0, {core})
