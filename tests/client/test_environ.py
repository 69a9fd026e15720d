"""What the environment says of proxies."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

import aiohttpconn
from aiohttpconn import Client, InvalidURL, TLSError, UnsupportedScheme
from aiohttpconn.client.environ import EnvironmentProxies
from aiohttpconn.net.tls import TLS_VARIABLES, ssl_context
from aiohttpconn.proxy import Proxy
from aiohttpconn.url import parse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.origin import OriginServer
    from tests.servers.proxy import ConnectProxy

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing; to be filled by the test."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUEST_METHOD", *TLS_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def proxies(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, str]:
    """The proxies' origins by scheme, as text."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = EnvironmentProxies()
    named = {scheme: found.proxy_for(parse(f"{scheme}://any.example/").origin) for scheme in ("http", "https")}
    assert bool(found) is any(named.values())
    return {scheme: str(proxy.origin) for scheme, proxy in named.items() if proxy is not None}


def test_nothing_said_is_no_proxy(environment: pytest.MonkeyPatch) -> None:
    assert proxies(environment) == {}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"http_proxy": "http://a:1"}, {"http": "http://a:1"}),
        ({"HTTP_PROXY": "http://a:1"}, {"http": "http://a:1"}),
        ({"https_proxy": "http://a:1"}, {"https": "http://a:1"}),
        ({"HTTPS_PROXY": "http://a:1"}, {"https": "http://a:1"}),
        ({"all_proxy": "http://a:1"}, {"http": "http://a:1", "https": "http://a:1"}),
        ({"ALL_PROXY": "socks5h://a"}, {"http": "socks5h://a", "https": "socks5h://a"}),
        (
            {"https_proxy": "https://a:1", "http_proxy": "socks4a://b:2"},
            {"https": "https://a:1", "http": "socks4a://b:2"},
        ),
        ({"ALL_PROXY": "http://a:1"}, {"http": "http://a:1", "https": "http://a:1"}),
        ({"ALL_PROXY": "http://a:1", "https_proxy": "http://b:2"}, {"http": "http://a:1", "https": "http://b:2"}),
        ({"http_proxy": "http://small:1", "HTTP_PROXY": "http://capital:2"}, {"http": "http://small:1"}),
        ({"http_proxy": "", "HTTP_PROXY": "http://capital:2"}, {}),
        ({"http_proxy": "bare:3128"}, {"http": "http://bare:3128"}),
        ({"http_proxy": "bare"}, {"http": "http://bare"}),
        ({"http_proxy": "[::1]:3128"}, {"http": "http://[::1]:3128"}),
    ],
)
def test_which_variable_says_what(
    variables: dict[str, str], expected: dict[str, str], environment: pytest.MonkeyPatch
) -> None:
    assert proxies(environment, **variables) == expected


def test_credentials_are_the_userinfo(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("http_proxy", "http://us%40er:p%3Aw@proxy.example:3128")
    proxy = EnvironmentProxies().proxy_for(parse("http://any.example/").origin)
    assert isinstance(proxy, Proxy)
    assert proxy.fields == [("Proxy-Authorization", "Basic dXNAZXI6cDp3")]
    assert "dXNAZXI6cDp3" not in repr(proxy)


def test_in_a_cgi_script_capitals_are_a_request_field(environment: pytest.MonkeyPatch) -> None:
    """httpoxy, CVE-2016-5385: a request's Proxy field arrives as HTTP_PROXY."""
    environment.setenv("REQUEST_METHOD", "GET")
    assert proxies(environment, HTTP_PROXY="http://attacker:1", HTTPS_PROXY="http://b:2") == {"https": "http://b:2"}
    assert proxies(environment, http_proxy="http://good:1")["http"] == "http://good:1"


UNUSABLE = [
    ("unknown://a:1", UnsupportedScheme, "HTTP_PROXY names a unknown:// proxy, which is not supported: unset it"),
    ("ftp://u:s3cret@a", UnsupportedScheme, "HTTP_PROXY names a ftp:// proxy"),
    ("http://u:s3cret@a:99999", InvalidURL, "HTTP_PROXY names no proxy: "),
    ("http://u:s3cret@a b/", InvalidURL, "HTTP_PROXY names no proxy: "),
    ("u:s3cret@a b", InvalidURL, "HTTP_PROXY names no proxy: "),
    ("http://\udcff@a", InvalidURL, "HTTP_PROXY names no proxy: "),
]


@pytest.mark.parametrize(("value", "error", "text"), UNUSABLE)
def test_a_proxy_that_cannot_be_used_says_where_it_comes_from(
    value: str, error: type[Exception], text: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HTTP_PROXY", value)
    environment.setenv("HTTPS_PROXY", "http://good:1")
    found = EnvironmentProxies()
    with pytest.raises(error, match=text) as caught:
        found.proxy_for(parse("http://any.example/").origin)
    assert "proxy=None or trust_env=False" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert found.proxy_for(parse("https://any.example/").origin) == Proxy.of("http://good:1")


def test_the_fallback_is_named_where_it_is_used(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("all_proxy", "unknown://a:1")
    with pytest.raises(UnsupportedScheme, match=r"^all_proxy names a unknown:// proxy"):
        EnvironmentProxies().proxy_for(parse("https://any.example/").origin)


async def test_a_proxy_that_cannot_be_used_concerns_nobody_else(
    environment: pytest.MonkeyPatch, http_server: OriginServer
) -> None:
    environment.setenv("ALL_PROXY", "unknown://127.0.0.1:1080")
    async with Client() as client:
        with pytest.raises(UnsupportedScheme, match="ALL_PROXY") as caught:
            await client.get(http_server.url)
        assert caught.value.request is not None
        assert (await client.get(http_server.url, proxy=None)).text == "hello"
    for rules in ("*", "127.0.0.1"):
        environment.setenv("NO_PROXY", rules)
        async with Client() as client:
            assert (await client.get(http_server.url)).text == "hello"
    environment.delenv("NO_PROXY")
    environment.setenv("http_proxy", " ")
    environment.delenv("ALL_PROXY")
    environment.setenv("HTTPS_PROXY", "unknown://127.0.0.1:1080")
    async with Client() as client:
        assert (await client.get(http_server.url)).text == "hello"


@pytest.mark.parametrize(
    ("rules", "url", "bypassed"),
    [
        ("", "http://example.org/", False),
        ("*", "http://example.org/", True),
        ("example.org", "http://example.org/", True),
        ("EXAMPLE.org", "http://Example.ORG/", True),
        ("example.org", "http://www.example.org/", True),
        (".example.org", "http://www.example.org/", True),
        (".example.org", "http://example.org/", True),
        ("*.example.org", "http://www.example.org/", True),
        ("example.org", "http://notexample.org/", False),
        ("example.org", "http://example.org.evil/", False),
        ("example.org", "http://example.org./", True),
        ("example.org.", "http://example.org/", True),
        ("a, b ,  example.org ", "http://example.org/", True),
        (",,", "http://example.org/", False),
        (" ", "http://example.org/", False),
        (".", "http://example.org/", False),
        ("example.org:8080", "http://example.org:8080/", True),
        ("example.org:8080", "http://example.org/", False),
        ("example.org:80", "http://example.org/", True),
        ("example.org:443", "https://example.org/", True),
        ("127.0.0.1", "http://127.0.0.1:9999/", True),
        ("127.0.0.1", "http://127.0.0.11/", False),
        ("localhost", "http://localhost:1/", True),
        ("localhost", "http://127.0.0.1/", False),
        ("::1", "http://[::1]:80/", True),
        ("[::1]", "http://[::1]:80/", True),
        ("[::1]:8080", "http://[::1]:8080/", True),
        ("[::1]:8080", "http://[::1]/", False),
        ("xn--bcher-kva.example", "http://bücher.example/", True),
        ("10.0.0.0/8", "http://10.200.3.4/", True),
        ("10.0.0.0/8", "http://11.0.0.1/", False),
        ("10.1.2.3/8", "http://10.200.3.4/", True),  # host bits set
        ("10.0.0.0/8:8080", "http://10.1.1.1:8080/", True),
        ("10.0.0.0/8:8080", "http://10.1.1.1/", False),
        ("10.0.0.0/8", "http://10.example/", False),
        ("1", "http://127.0.0.1/", False),  # the end of an address is no domain
        ("0.1", "http://127.0.0.1/", False),
        (".1", "http://127.0.0.1/", False),
        ("1", "http://[::1]/", False),
        ("10.0.0.0/33", "http://10.0.0.1/", False),
        ("fd00::/8", "http://[fd12::1]/", True),
        ("fd00::/8", "http://[fe80::1]/", False),
        ("[fd00::/8]:81", "http://[fd12::1]:81/", True),
        ("127.0.0.0/8", "http://[::ffff:127.0.0.1]/", True),
        ("0:0:0:0:0:0:0:1", "http://[::1]/", True),
        ("3com.example", "http://www.3com.example/", True),
        ("a b example.org", "http://example.org/", True),
        ("example.org:http", "http://example.org/", False),
        ("example.org:", "http://example.org:81/", True),
        ("bücher.example", "http://bücher.example/", True),
        ("BÜCHER.example", "http://www.xn--bcher-kva.example/", True),
        (".bücher.example:81", "http://bücher.example:81/", True),
        ("ü\udcff.example", "http://bücher.example/", False),
        ("http://example.org", "http://example.org/", True),
        ("http://example.org", "https://www.example.org/", True),
        ("https://example.org:8080/x", "http://example.org:8080/", True),
        ("https://example.org:8080/x", "http://example.org/", False),
        ("example.org/", "http://example.org/", True),
        ("[::1]/", "http://[::1]/", True),
        ("http://[::1]:81/", "http://[::1]:81/", True),
        ("/", "http://example.org/", False),
        ("[fd00::]/8", "http://[fd12::1]/", True),
        ("[fd00::]/8", "http://[fe80::1]/", False),
        ("[fd00::]/8:81", "http://[fd12::1]:81/", True),
        ("[fd00::]/8:81", "http://[fd12::1]/", False),
        ("10.*", "http://10.1.2.3/", True),
        ("10.*", "http://110.1.2.3/", False),
        ("10.*", "http://10.example/", False),
        ("192.168.*.*:81", "http://192.168.1.2:81/", True),
        ("192.168.*.*:81", "http://192.168.1.2/", False),
        ("build-*.example.org", "http://build-7.example.org/", True),
        ("build-*.example.org", "http://build-7.example.org.evil/", False),
        ("build-*.example.org", "http://build-7.exampleXorg/", False),
        ("*.intern.*", "http://a.intern.example/", True),
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_who_is_taken_out(name: str, rules: str, url: str, bypassed: bool, environment: pytest.MonkeyPatch) -> None:
    environment.setenv(name, rules)
    assert EnvironmentProxies().bypasses(parse(url).origin) is bypassed


# --- through a client -------------------------------------------------------------------------------------------------


async def test_a_client_trusts_the_environment(
    environment: pytest.MonkeyPatch, http_server: OriginServer, connect_proxy: ConnectProxy
) -> None:
    connect_proxy.credentials = ("user", "secret")
    environment.setenv("HTTP_PROXY", f"http://user:secret@{connect_proxy.authority}")
    async with Client() as client:
        assert (await client.get(http_server.url)).text == "hello"
    assert connect_proxy.forwarded == [f"{http_server.url}/"]


async def test_unless_it_is_told_not_to(
    environment: pytest.MonkeyPatch, http_server: OriginServer, connect_proxy: ConnectProxy
) -> None:
    environment.setenv("HTTP_PROXY", connect_proxy.url)
    for options in ({"trust_env": False}, {"proxy": None}):
        async with Client(**options) as client:
            assert (await client.get(http_server.url)).text == "hello"
    async with Client() as client:
        assert (await client.get(http_server.url, proxy=None)).text == "hello"
    assert connect_proxy.connections == 0


async def test_all_of_it_is_read_when_the_client_is_made(
    environment: pytest.MonkeyPatch, http_server: OriginServer, connect_proxy: ConnectProxy
) -> None:
    environment.setenv("HTTP_PROXY", connect_proxy.url)
    async with Client() as client:
        environment.setenv("NO_PROXY", "*")
        environment.delenv("HTTP_PROXY")
        assert (await client.get(http_server.url)).text == "hello"
    assert len(connect_proxy.forwarded) == 1


async def test_a_proxy_that_is_given_goes_before_it(
    environment: pytest.MonkeyPatch, http_server: OriginServer, connect_proxy: ConnectProxy
) -> None:
    environment.setenv("ALL_PROXY", "http://proxy.invalid:1")
    environment.setenv("NO_PROXY", "*")
    async with Client(proxy=connect_proxy.url) as client:
        assert (await client.get(http_server.url)).text == "hello"
    assert len(connect_proxy.forwarded) == 1


async def test_each_hop_of_a_redirect_is_looked_up_anew(
    environment: pytest.MonkeyPatch, http_server: OriginServer, connect_proxy: ConnectProxy
) -> None:
    environment.setenv("HTTP_PROXY", connect_proxy.url)
    environment.setenv("NO_PROXY", "localhost")
    direct = f"http://localhost:{http_server.port}"
    async with Client() as client:
        there = await client.get(f"{http_server.url}/redirect/302?{direct}/request")
        assert connect_proxy.forwarded == [f"{http_server.url}/redirect/302?{direct}/request"]
        connect_proxy.forwarded.clear()
        back = await client.get(f"{direct}/redirect/302?{http_server.url}/request")
        assert connect_proxy.forwarded == [f"{http_server.url}/request"]
    assert there.status == back.status == 200


async def test_one_shots_trust_it_too(
    environment: pytest.MonkeyPatch, http_server: OriginServer, connect_proxy: ConnectProxy
) -> None:
    environment.setenv("http_proxy", connect_proxy.url)
    assert (await aiohttpconn.get(http_server.url)).text == "hello"
    assert len(connect_proxy.forwarded) == 1
    assert (await aiohttpconn.get(http_server.url, trust_env=False)).text == "hello"
    assert len(connect_proxy.forwarded) == 1


# --- TLS --------------------------------------------------------------------------------------------------------------


async def test_ssl_cert_file_is_trusted(
    https_server: OriginServer, environment: pytest.MonkeyPatch, ca_file: Path
) -> None:
    environment.setenv("SSL_CERT_FILE", str(ca_file))
    async with Client() as client:
        assert (await client.get(https_server.url)).status == 200
    async with Client(trust_env=False) as client:
        with pytest.raises(TLSError, match="issuer"):
            await client.get(https_server.url)


async def test_ssl_cert_dir_is_trusted(
    https_server: OriginServer, environment: pytest.MonkeyPatch, ca_file: Path, tmp_path: Path
) -> None:
    found = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", str(ca_file)], capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip("the openssl program is missing")
    (tmp_path / f"{found.stdout.strip()}.0").write_bytes(ca_file.read_bytes())
    environment.setenv("SSL_CERT_DIR", str(tmp_path))
    async with Client() as client:
        assert (await client.get(https_server.url)).status == 200


async def test_ssl_cert_file_that_is_none_says_so(https_server: OriginServer, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SSL_CERT_FILE", "/no/such/file")
    async with Client() as client:
        with pytest.raises(TLSError, match=r"SSL_CERT_FILE names no file: '/no/such/file'"):
            await client.get(https_server.url)


async def test_a_ca_that_is_given_goes_before_the_environments(
    https_server: OriginServer, environment: pytest.MonkeyPatch, ca_file: Path
) -> None:
    environment.setenv("SSL_CERT_FILE", "/no/such/file")
    async with Client(verify=str(ca_file)) as client:
        assert (await client.get(https_server.url)).status == 200


@pytest.mark.parametrize("trusted", [True, False])
async def test_session_keys_are_logged_where_the_environment_says(
    https_server: OriginServer, environment: pytest.MonkeyPatch, ca_file: Path, tmp_path: Path, trusted: bool
) -> None:
    keys = tmp_path / "keys.log"
    environment.setenv("SSLKEYLOGFILE", str(keys))
    async with Client(verify=str(ca_file), trust_env=trusted) as client:
        await client.get(https_server.url)
    ssl_context.__globals__["_context"].cache_clear()  # it keeps the file open
    assert keys.exists() is trusted
    assert not trusted or "CLIENT_TRAFFIC_SECRET_0" in keys.read_text()


async def test_a_file_of_session_keys_that_cannot_be_written(
    https_server: OriginServer, environment: pytest.MonkeyPatch, ca_file: Path, tmp_path: Path
) -> None:
    environment.setenv("SSLKEYLOGFILE", str(tmp_path / "missing" / "keys.log"))
    for verify in (str(ca_file), False):
        with pytest.raises(TLSError, match=r"SSLKEYLOGFILE names a file that cannot be written, .*keys\.log"):
            Client(verify=verify)
        async with Client(verify=verify, trust_env=False) as client:
            assert (await client.get(https_server.url)).status == 200


def test_a_file_of_session_keys_is_no_affair_of_the_cas(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("SSLKEYLOGFILE", str(tmp_path))  # a folder
    with pytest.raises(TLSError, match="SSLKEYLOGFILE") as caught:
        ssl_context()
    assert "CA cert" not in str(caught.value)
