"""One measurement, in a process of its own: ``python -m benchmarks.child JSON``; the result is its last line."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from .measure import Sample, pin, raise_file_limit


def probe(name: str) -> dict[str, Any]:
    """Whether the client of that name can be measured, and its version."""
    from .peers import peer

    try:
        return {"version": peer(name).version}
    except (ImportError, AttributeError) as error:
        # Without the path that an ImportError ends with: reports are published.
        return {"unavailable": f"{type(error).__name__}: {error}".partition(" (")[0]}


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Run a workload with a client."""
    import uvloop

    from .contents import Targets
    from .peers import peer
    from .workloads import WORKLOADS, Plan

    raise_file_limit()
    workload = WORKLOADS[job["workload"]]

    async def run() -> Sample:
        assert workload.run is not None
        return await workload.run(peer(job["peer"]), Targets(**job["targets"]), Plan(**job["plan"]))

    return asdict(uvloop.run(run()))


def main() -> None:
    job = json.loads(sys.argv[1])
    pin(job["core"])
    result = probe(job["probe"]) if "probe" in job else measure(job)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
