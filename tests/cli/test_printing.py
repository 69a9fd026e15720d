"""Bodies on standard output, and every way in which a fetch can fail, seen from the shell."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import select
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from aiohttpconn.cli import main
from tests.cli.command import command, environment, finish, run, run_on_terminal, start
from tests.servers.origin import DOCUMENT, Reply, pattern
from tests.servers.raw import Close, Hold, Request, Reset, Send, WaitFor

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.servers.origin import OriginServer
    from tests.servers.proxy import ConnectProxy
    from tests.servers.raw import RawServer, Received

    StartServer = Callable[..., Awaitable[RawServer]]

OK = b"HTTP/1.1 200 OK\r\n"


# --- what is printed --------------------------------------------------------------------------------------------------


async def test_a_body_is_printed_as_it_is(http_server: OriginServer) -> None:
    outcome = await run(f"{http_server.url}/bytes/300000")
    assert (outcome.code, outcome.stdout, outcome.stderr) == (0, pattern(300_000), "")


async def test_a_coded_body_is_decoded(http_server: OriginServer) -> None:
    outcome = await run(f"{http_server.url}/gzip")
    assert json.loads(outcome.stdout) == DOCUMENT


async def test_bodies_come_in_the_order_of_the_urls(http_server: OriginServer) -> None:
    last_asked = asyncio.Event()

    async def slow(request: Received) -> Reply:
        await last_asked.wait()  # so all three are asked for before the first is answered
        return Reply(pattern(100_000))

    def last(request: Received) -> Reply:
        last_asked.set()
        return Reply(b"last\n")

    http_server.routes |= {"/slow": slow, "/last": last}
    outcome = await run(*(f"{http_server.url}{path}" for path in ("/slow", "/chunked/5000", "/last")))
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.stdout == pattern(100_000) + pattern(5000) + b"last\n"


async def test_bodies_that_wait_for_their_turn_are_not_all_held_in_memory(http_server: OriginServer) -> None:
    # Far more than what is held: they must wait at the server, and still come whole and in order.
    outcome = await run("--concurrency", 4, *[f"{http_server.url}/bytes/6000000"] * 6)
    assert outcome.code == 0
    assert outcome.stdout == pattern(6_000_000) * 6


async def test_one_url_at_a_time(http_server: OriginServer) -> None:
    outcome = await run("--concurrency", 1, *[f"{http_server.url}/bytes/{n}" for n in range(5)])
    assert outcome.stdout == b"".join(pattern(n) for n in range(5))
    assert http_server.connections == 1


async def test_a_body_is_printed_while_it_comes(raw_server: StartServer) -> None:
    seen = asyncio.Event()
    server = await raw_server(
        [Request(), Send(OK + b"Content-Length: 10\r\n\r\nfirst"), WaitFor(seen), Send(b"after")],
    )
    process = start(server.url)
    assert process.stdout is not None
    first = await asyncio.to_thread(os.read, process.stdout.fileno(), 100)
    seen.set()  # the server goes on only now
    outcome = await finish(process)
    assert (first, outcome.stdout, outcome.code) == (b"first", b"after", 0)


async def test_heads_are_included(raw_server: StartServer) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 4\r\n\r\ngone"
    head = b"HTTP/1.1 200 Fine\r\nset-cookie: a=1\r\nX-K\xe4se: \xfc\r\n".replace(b"K\xe4se", b"Kase")
    last = head + b"Set-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok"
    server = await raw_server([Request(), Send(moved), Request(), Send(last)])
    outcome = await run("-i", server.url)
    assert outcome.stdout == moved.removesuffix(b"gone") + last


async def test_a_redirect_is_shown_when_it_is_not_followed(http_server: OriginServer) -> None:
    outcome = await run("--no-redirects", f"{http_server.url}/redirect/302?/bytes/3")
    assert (outcome.code, outcome.stdout) == (0, b"elsewhere")
    outcome = await run(f"{http_server.url}/redirect/302?/bytes/3")
    assert (outcome.code, outcome.stdout) == (0, pattern(3))


# --- what is sent -----------------------------------------------------------------------------------------------------


async def test_method_fields_and_data_are_sent(http_server: OriginServer) -> None:
    arguments = ["-X", "PUT", "-H", "X-One: 1", "-H", "x-two:  zwölf ", "-H", "Content-Type: text/plain", "-d", "@-"]
    outcome = await run(*arguments, f"{http_server.url}/request?q=1", stdin=b"some\r\ndata")
    seen = json.loads(outcome.stdout)
    fields = dict(map(tuple, seen["fields"]))
    assert (seen["method"], seen["target"], seen["body"]) == ("PUT", "/request?q=1", 10)
    assert (fields["X-One"], fields["x-two"].encode("latin-1").decode()) == ("1", "zwölf")
    assert (fields["Content-Type"], fields["Content-Length"]) == ("text/plain", "10")
    assert http_server.requests[0].body == b"some\r\ndata"


async def test_data_is_a_form_by_post(http_server: OriginServer) -> None:
    outcome = await run("-d", "a=1", "-d", "b=2", f"{http_server.url}/echo")
    assert outcome.stdout == b"a=1&b=2"
    (request,) = http_server.requests
    assert (request.method, request.get("Content-Type")) == ("POST", "application/x-www-form-urlencoded")


async def test_a_proxy_with_credentials_is_used(http_server: OriginServer, connect_proxy: ConnectProxy) -> None:
    connect_proxy.credentials = ("ada", "pw")
    outcome = await run("-x", f"ada:pw@{connect_proxy.authority}", f"{http_server.url}/bytes/5")
    assert (outcome.code, outcome.stdout) == (0, pattern(5))
    assert connect_proxy.forwarded == [f"{http_server.url}/bytes/5"]


async def test_the_environments_proxy_is_used_unless_told_otherwise(
    http_server: OriginServer, connect_proxy: ConnectProxy
) -> None:
    env = environment(http_proxy=connect_proxy.url)
    assert (await run(f"{http_server.url}/bytes/5", env=env)).code == 0
    assert (await run("-x", "", f"{http_server.url}/bytes/6", env=env)).code == 0
    assert connect_proxy.forwarded == [f"{http_server.url}/bytes/5"]


async def test_a_bad_proxy_in_the_environment_is_named() -> None:
    outcome = await run("http://127.0.0.1:1/", env=environment(http_proxy="http://"))
    assert outcome.code == 3
    assert "http_proxy names no proxy" in outcome.stderr
    elsewhere = await run("http://127.0.0.1:1/", env=environment(http_proxy="http://", no_proxy="127.0.0.1"))
    assert "http_proxy" not in elsewhere.stderr


# --- certificates -----------------------------------------------------------------------------------------------------


async def test_a_certificate_is_verified_against_the_given_ca(https_server: OriginServer, ca_file: Path) -> None:
    outcome = await run("--cacert", ca_file, f"{https_server.url}/bytes/7")
    assert (outcome.code, outcome.stdout, outcome.stderr) == (0, pattern(7), "")


async def test_an_unknown_ca_is_refused_unless_told_otherwise(https_server: OriginServer) -> None:
    outcome = await run(https_server.url)
    assert (outcome.code, outcome.stdout) == (3, b"")
    assert outcome.complaint.startswith(f"{https_server.url}/: the certificate of 127.0.0.1 was refused: ")
    assert "--cacert" in outcome.complaint
    for option in ("-k", "--insecure"):
        outcome = await run(option, https_server.url)
        assert (outcome.code, outcome.stdout, outcome.stderr) == (0, b"hello", "")


@pytest.mark.parametrize(("context", "says"), [("expired_ctx", "expired"), ("wrong_host_ctx", "not valid for")])
async def test_a_bad_certificate_is_refused(
    request: pytest.FixtureRequest, raw_server: StartServer, ca_file: Path, context: str, says: str
) -> None:
    tls: ssl.SSLContext = request.getfixturevalue(context)
    server = await raw_server([Hold()], tls=tls)
    outcome = await run("--cacert", ca_file, server.url)
    assert outcome.code == 3
    assert outcome.complaint.startswith(f"{server.url}/: the certificate of 127.0.0.1 was refused: ")
    assert says in outcome.complaint


async def test_tls_to_a_port_without_it(raw_server: StartServer) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conn: object) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = await raw_server(plain)
    outcome = await run(f"https://{server.authority}/")
    assert (outcome.code, outcome.stdout) == (3, b"")
    assert "does not speak TLS" in outcome.complaint


# --- failures: one line each ------------------------------------------------------------------------------------------


async def test_refused(refusing: tuple[str, int]) -> None:
    authority = f"127.0.0.1:{refusing[1]}"
    outcome = await run(f"http://{authority}")
    assert (outcome.code, outcome.stdout) == (3, b"")
    assert outcome.complaint == f"http://{authority}/: cannot connect to {authority}: Connection refused"


async def test_unresolvable_name() -> None:
    outcome = await run("http://nonexistent.invalid/x")
    assert (outcome.code, outcome.stdout) == (3, b"")
    assert outcome.complaint.startswith(
        "http://nonexistent.invalid/x: no address is known for host 'nonexistent.invalid'"
    )


@pytest.mark.parametrize(
    ("answer", "printed", "says"),
    [
        (OK + b"Content-Length: 10\r\n\r\nshort", b"short", "the body ended early, 5 bytes are missing"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", b"short", "the body ended early"),
        (b"\x16\x03\x01garbage\r\n\r\n", b"", "status line"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", b"", "'SSH-2.0-OpenSSH_9.2'"),
        (OK + b"Content-Length: many\r\n\r\n", b"", "many"),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 8\r\n\r\nnot gzip", b"", "gzip"),
        (b"", b"", "the peer closed the connection without sending a byte"),
        (OK[:10], b"", "the peer closed the connection after 10 bytes"),
        (b"HTTP/1.1 302 Found\r\nLocation: ftp://x/\r\n\r\n", b"", "ftp"),
    ],
)
async def test_a_bad_answer(raw_server: StartServer, answer: bytes, printed: bytes, says: str) -> None:
    server = await raw_server(answer)
    outcome = await run(f"{server.url}/x")
    assert (outcome.code, outcome.stdout) == (3, printed)
    assert outcome.complaint.startswith(f"{server.url}/x: ")
    assert says in outcome.complaint


async def test_reset(raw_server: StartServer) -> None:
    server = await raw_server([Request(), Send(OK + b"\r\nsome"), Reset()])
    outcome = await run(server.url)
    assert outcome.code == 3
    assert "reset" in outcome.complaint.lower()


async def test_timeout(http_server: OriginServer) -> None:
    outcome = await run("--timeout", "0.2", f"{http_server.url}/hold")
    assert (outcome.code, outcome.stdout) == (3, b"")
    assert outcome.complaint == f"{http_server.url}/hold: the peer sent nothing more within 0.2 s"


async def test_a_proxys_refusal(connect_proxy: ConnectProxy) -> None:
    connect_proxy.answer = b"HTTP/1.1 403 Not you\r\nContent-Length: 0\r\n\r\n"
    outcome = await run("-x", connect_proxy.url, "https://origin.invalid/")
    assert outcome.code == 3
    assert outcome.complaint.startswith("https://origin.invalid/: ")
    assert "403 Not you" in outcome.complaint


async def test_too_many_redirects_say_where_they_led(http_server: OriginServer) -> None:
    http_server.routes["/a"] = Reply(status=302, fields=[("Location", "/b")])
    http_server.routes["/b"] = Reply(status=302, fields=[("Location", "/b")])
    outcome = await run(f"{http_server.url}/a")
    assert outcome.code == 3
    assert outcome.complaint == f"{http_server.url}/a: more than 20 redirects (redirected to {http_server.url}/b)"


async def test_a_password_is_not_shown(refusing: tuple[str, int]) -> None:
    authority = f"127.0.0.1:{refusing[1]}"
    outcome = await run(f"http://ada:hunter2@{authority}")
    assert outcome.complaint.startswith(f"http://{authority}/: ")
    assert "hunter2" not in outcome.stderr


async def test_what_a_server_says_cannot_steer_the_terminal(raw_server: StartServer) -> None:
    server = await raw_server(b"HTTP/1.1 404 \x1b]0;owned\x07\x9b2J\r\nContent-Length: 0\r\n\r\n")
    outcome = await run("--fail", server.url)
    assert outcome.code in (1, 3)
    assert outcome.complaint.isprintable()


# --- status and exit codes --------------------------------------------------------------------------------------------


async def test_an_error_status_is_an_answer_like_any_other(http_server: OriginServer) -> None:
    outcome = await run(f"{http_server.url}/status/404")
    assert (outcome.code, outcome.stdout, outcome.stderr) == (0, b"status 404", "")


async def test_an_error_status_fails_when_asked_to(http_server: OriginServer) -> None:
    for status in (404, 500):
        outcome = await run("--fail", f"{http_server.url}/status/{status}")
        assert (outcome.code, outcome.stdout) == (1, b"")
        assert outcome.complaint.startswith(f"{http_server.url}/status/{status}: {status} ")
    outcome = await run("--fail", "--no-redirects", f"{http_server.url}/redirect/302?/")
    assert outcome.code == 0


async def test_with_several_urls_the_worst_counts_and_the_rest_is_fetched(
    http_server: OriginServer, raw_server: StartServer
) -> None:
    broken = await raw_server(OK + b"Content-Length: 10\r\n\r\nshort")
    urls = [f"{http_server.url}/status/404", broken.url, f"{http_server.url}/bytes/9"]
    outcome = await run("-f", *urls)
    assert outcome.code == 3
    assert outcome.stdout == b"short" + pattern(9)
    assert {line.split(": ")[1] for line in outcome.stderr.splitlines()} == {urls[0], urls[1] + "/"}
    assert (await run("-f", urls[0], urls[2])).code == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required"),
        (["--nonsense", "http://127.0.0.1:1/"], "--nonsense"),
        (["example.org"], "scheme"),
        (["ftp://example.org/"], "ftp"),
        (["http://127.0.0.1:1/", "http://exa mple/"], "exa mple"),
        (["http://[::1/"], "::1"),
        (["-X", "G ET", "http://127.0.0.1:1/"], "token"),
        (["-H", "B ad: x", "http://127.0.0.1:1/"], "token"),
        (["-H", "Bad: x\ny", "http://127.0.0.1:1/"], "control character"),
        (["-x", "socks9://x", "http://127.0.0.1:1/"], "-x: "),
        (["--cacert", "/nonexistent/ca.pem", "http://127.0.0.1:1/"], "/nonexistent/ca.pem"),
        (["-d", "@/nonexistent/in", "http://127.0.0.1:1/"], "/nonexistent/in"),
        (["demo", "now"], "demo"),
    ],
)
def test_usage(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("aiohttpconn: ")
    assert says in line
    assert line.endswith(("(see aiohttpconn --help)", "(see aiohttpconn demo --help)"))
    assert said.out == ""


async def test_usage_in_a_process_of_its_own() -> None:
    outcome = await run("ftp://example.org/")
    assert (outcome.code, outcome.stdout) == (2, b"")
    assert outcome.complaint.startswith("only http and https URLs can be fetched")


# --- standard output's own troubles -----------------------------------------------------------------------------------


async def test_who_has_seen_enough_ends_it_in_silence(http_server: OriginServer) -> None:
    process = start(f"{http_server.url}/bytes/30000000", f"{http_server.url}/hold")
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.read, 100) == pattern(100)
    process.stdout.close()
    process.stdout = None
    outcome = await finish(process)
    assert (outcome.code, outcome.stderr) == (141, "")


async def test_help_that_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        outcome = await run("--help", stdout=writing)
    finally:
        os.close(writing)
    assert (outcome.code, outcome.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
async def test_a_full_disk(http_server: OriginServer) -> None:
    with open("/dev/full", "wb") as full:
        outcome = await run(http_server.url, stdout=full)
    assert outcome.code == 3
    assert outcome.complaint == f"standard output: {os.strerror(errno.ENOSPC)}"


async def test_closed_standard_output(http_server: OriginServer) -> None:
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command(http_server.url)], stderr=subprocess.PIPE, env=environment()
    )
    outcome = await finish(process)
    assert outcome.code == 3
    assert outcome.complaint.startswith("standard output: ")


async def test_an_answer_waits_for_a_slow_reader(http_server: OriginServer) -> None:
    process = start(f"{http_server.url}/bytes/3000000")
    while not http_server.requests:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)  # the pipe is full and nothing goes on
    outcome = await finish(process)
    assert (outcome.code, outcome.stdout) == (0, pattern(3_000_000))


async def test_a_non_blocking_pipe(http_server: OriginServer) -> None:
    process_end, test_end = os.pipe()[::-1]
    os.set_blocking(process_end, False)
    process = start(f"{http_server.url}/bytes/3000000", stdout=process_end)
    os.close(process_end)

    def read() -> bytes:
        with open(test_end, "rb") as file:
            select.select([file], [], [])
            return file.read()

    said = await asyncio.to_thread(read)
    outcome = await finish(process)
    assert (outcome.code, outcome.stderr, said) == (0, "", pattern(3_000_000))


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


async def test_interrupt_while_waiting_for_an_answer(http_server: OriginServer) -> None:
    process = start(f"{http_server.url}/hold")
    while not http_server.requests:
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGINT)
    outcome = await finish(process)
    assert (outcome.code, outcome.stdout, outcome.complaint) == (130, b"", "interrupted")


async def test_interrupt_while_nobody_reads(raw_server: StartServer) -> None:
    async def endless(reader: object, writer: asyncio.StreamWriter, conn: object) -> None:
        writer.write(OK + b"\r\n")
        while True:
            writer.write(bytes(65536))
            await writer.drain()

    server = await raw_server(endless)
    process = start(server.url)
    while not server.connections:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)  # the pipe is full, and a thread of the command is stuck in it
    process.send_signal(signal.SIGINT)
    code = await asyncio.to_thread(process.wait, 30)
    outcome = await finish(process)
    assert (code, outcome.complaint) == (130, "interrupted")


# --- the rest ---------------------------------------------------------------------------------------------------------


async def test_printing_on_a_terminal_shows_the_body_and_nothing_else(http_server: OriginServer) -> None:
    outcome = await run_on_terminal(http_server.url)
    assert (outcome.code, outcome.stdout) == (0, b"hello")


async def test_a_connection_that_closes_between_urls_is_no_trouble(raw_server: StartServer) -> None:
    answer = OK + b"Content-Length: 2\r\n\r\nok"
    server = await raw_server([Request(), Send(answer), Close()])
    outcome = await run("--concurrency", 1, *[server.url] * 3)
    assert (outcome.code, outcome.stdout) == (0, b"ok" * 3)
