"""The command against real servers and a real proxy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import run
from tests.servers.nginx import document
from tests.servers.origin import pattern

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.nginx import Nginx
    from tests.servers.squid import Proxy

pytestmark = pytest.mark.interop


async def test_nginx_over_http(nginx: Nginx) -> None:
    outcome = await run(f"{nginx.http}/1k", f"{nginx.http}/gzip", f"{nginx.http}/chunked")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.stdout == pattern(1024) + document() + b"x" * 65536


async def test_nginx_over_https_with_a_given_ca(nginx: Nginx, ca_file: Path) -> None:
    outcome = await run("--cacert", ca_file, f"{nginx.https}/1k", f"{nginx.https}/redirect/absolute")
    assert (outcome.code, outcome.stdout, outcome.stderr) == (0, pattern(1024) * 2, "")
    outcome = await run(f"{nginx.https}/1k")
    assert (outcome.code, outcome.stdout) == (3, b"")
    assert "the certificate of localhost was refused" in outcome.complaint


async def test_large_files_from_nginx_side_by_side(nginx: Nginx, ca_file: Path, tmp_path: Path) -> None:
    outcome = await run("--cacert", ca_file, "-O", f"{nginx.http}/big", f"{nginx.https}/big", cwd=tmp_path)
    assert outcome.code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big", "big-2"]
    for path in tmp_path.iterdir():
        assert await asyncio.to_thread(path.read_bytes) == pattern(nginx.big)


async def test_upload_to_nginx(nginx: Nginx, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(3_000_000))
    outcome = await run("-X", "PUT", "-d", f"@{tmp_path / 'in'}", f"{nginx.http}/upload")
    assert (outcome.code, outcome.stdout) == (0, b"3000000")
    outcome = await run("-f", "-d", f"@{tmp_path / 'in'}", f"{nginx.http}/413")
    assert (outcome.code, outcome.stdout) == (1, b"")
    assert ": 413 " in outcome.stderr


async def test_squid_by_connect_and_by_forwarding(nginx: Nginx, squid: Proxy, ca_file: Path) -> None:
    outcome = await run("-x", squid.url, "--cacert", ca_file, f"{nginx.https}/1k")
    assert (outcome.code, outcome.stdout, outcome.stderr) == (0, pattern(1024), "")
    outcome = await run("-i", "-x", squid.url, f"{nginx.http}/1k")
    assert outcome.code == 0
    assert outcome.stdout.endswith(pattern(1024))
    assert b"\r\nVia: " in outcome.stdout


async def test_squid_that_wants_credentials(nginx: Nginx, squid_auth: Proxy, ca_file: Path) -> None:
    outcome = await run("-x", squid_auth.url, "--cacert", ca_file, f"{nginx.https}/1k")
    assert (outcome.code, outcome.stdout) == (0, pattern(1024))
    outcome = await run("-x", squid_auth.bare_url, "--cacert", ca_file, f"{nginx.https}/1k")
    assert outcome.code == 3
    assert f"the proxy 127.0.0.1:{squid_auth.port} refused CONNECT" in outcome.complaint
    assert "407" in outcome.complaint
