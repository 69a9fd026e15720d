"""proxy.py: a second real proxy, written in Python, that comes with the test extra. Also reached over TLS."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.certificates import LOCAL_NAMES
from tests.servers.program import Program, listens, missing
from tests.servers.squid import PASSWORD, USER, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import trustme


@contextmanager
def running(*, authenticate: bool, ca: trustme.CA | None = None) -> Iterator[Proxy]:
    """proxy.py, as long as the block lasts. With a `ca` it is an HTTPS proxy: its clients speak TLS to it first."""
    if importlib.util.find_spec("proxy") is None:
        missing("proxy.py is not installed")
    file: Path = Path()

    def configure(directory: Path) -> Sequence[str]:
        nonlocal file
        file = directory / "port"
        file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0", "--port-file", str(file)]
        command += ["--num-acceptors", "1", "--num-workers", "1", "--timeout", "60", "--log-level", "WARNING"]
        command += ["--data-dir", str(directory / "data"), "--cache-dir", str(directory / "cache")]
        if ca is not None:
            leaf = ca.issue_cert(*LOCAL_NAMES)
            (directory / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
            (directory / "key.pem").write_bytes(leaf.private_key_pem.bytes())
            command += ["--cert-file", str(directory / "chain.pem"), "--key-file", str(directory / "key.pem")]
        return [*command, "--basic-auth", f"{USER}:{PASSWORD}"] if authenticate else command

    def port() -> int:
        text = file.read_text().split() if file.exists() else []
        return int(text[0]) if text else 0

    with Program("proxypy", configure, lambda: port() != 0 and listens(port())):
        who = (USER, PASSWORD) if authenticate else (None, None)
        yield Proxy("127.0.0.1", port(), *who, scheme="http" if ca is None else "https")
