"""How long it takes a fresh interpreter to import each client."""

from __future__ import annotations

import compileall
import functools
import importlib.util
import json
import os
import subprocess
import sys
from typing import Final

from .measure import Sample

STANDARD_LIBRARY: Final = "asyncio + ssl"
MODULES: Final = {
    "aiohttpconn": "aiohttpconn",
    "pyreqwest": "pyreqwest.client, pyreqwest.runtime",
    "aiohttp": "aiohttp",
    "httpx": "httpx",
    "httpx2": "httpx2",
    STANDARD_LIBRARY: "asyncio, ssl",
}
ON_DEMAND: Final = ("rich", "isal", "uvloop", "aiofiles", "brotli")
"""What aiohttpconn must not import before it is needed."""

# The interpreter must not have loaded anything that the import would load, so this imports next to nothing itself.
SCRIPT: Final = """
import sys, time
wall, cpu = time.perf_counter(), time.process_time()
import {modules}
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
import json
print(json.dumps([cpu, wall, [name for name in {unwanted!r} if name in sys.modules]]))
"""


@functools.cache
def _compile(module: str) -> None:
    """Compile what an installer would have compiled, in case this one runs from its sources."""
    spec = importlib.util.find_spec(module)
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        compileall.compile_dir(place, quiet=2)


def measure(name: str, core: int) -> Sample:
    """Import it once. `extra` counts the modules of `ON_DEMAND` that came along."""
    script = SCRIPT.format(modules=MODULES[name], unwanted=ON_DEMAND)
    command = ["taskset", "--cpu-list", str(core), sys.executable, "-c", script]
    if name != STANDARD_LIBRARY:
        _compile(name)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    if run.returncode:
        raise RuntimeError(run.stderr.strip().splitlines()[-1])
    cpu, wall, unwanted = json.loads(run.stdout)
    return Sample(1, cpu, wall, extra={"unwanted": len(unwanted)})
