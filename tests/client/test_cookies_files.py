"""Cookies saved and loaded: JSON and cookies.txt."""

from __future__ import annotations

import http.cookiejar
import io
import json
import stat
import time
from typing import TYPE_CHECKING

import pytest

from aiohttpconn.client.cookies import CookieJar
from aiohttpconn.url import parse

if TYPE_CHECKING:
    from pathlib import Path

LATER = float(int(time.time()) + 100_000)


def full_jar() -> CookieJar:
    jar = CookieJar()
    jar.set("sid", "31d4", "example.org", secure=True, http_only=True, same_site="Lax", expires=LATER)
    jar.set("tip", 'o "ff"\xe4', ".example.org", "/deep", expires=LATER)
    jar.set("session", "", "127.0.0.1")
    jar.set("", "nameless=1", "a.example")
    jar.set("x", "1", "::1")
    return jar


def facts(jar: CookieJar) -> set[tuple[object, ...]]:
    return {(*cookie._fields(),) for cookie in jar}


def test_json_brings_everything_back(tmp_path: Path) -> None:
    path = tmp_path / "cookies.json"
    full_jar().save_json(path)
    again = CookieJar()
    again.load_json(str(path))
    assert facts(again) == facts(full_jar())
    assert "created" not in path.read_text("ascii")


def test_netscape_brings_all_but_same_site_back(tmp_path: Path) -> None:
    path = tmp_path / "cookies.txt"
    full_jar().save_netscape(path)
    again = CookieJar()
    again.load_netscape(path)
    expected = full_jar()
    expected.set("sid", "31d4", "example.org", secure=True, http_only=True, expires=LATER)
    assert facts(again) == facts(expected)
    assert b"\xe4" in path.read_bytes()


@pytest.mark.parametrize("form", ["json", "netscape"])
def test_the_order_of_the_field_is_kept(form: str) -> None:
    jar = CookieJar()
    for number in (3, 1, 2):
        jar.set(f"c{number}", "v", "a.example" if number % 2 else ".example")
    file = io.StringIO()
    getattr(jar, f"save_{form}")(file)
    again = CookieJar()
    getattr(again, f"load_{form}")(io.StringIO(file.getvalue()))
    assert again.header_for(parse("http://a.example/")) == "c3=v; c1=v; c2=v"


@pytest.mark.parametrize("form", ["json", "netscape"])
def test_the_session_may_be_left_out(form: str) -> None:
    file = io.StringIO()
    getattr(full_jar(), f"save_{form}")(file, session=False)
    again = CookieJar()
    getattr(again, f"load_{form}")(io.StringIO(file.getvalue()))
    assert sorted(cookie.name for cookie in again) == ["sid", "tip"]


def test_a_file_is_for_its_owner_only_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "cookies.json"
    path.write_text("old")
    path.chmod(0o644)
    full_jar().save_json(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="nowhere"):
        full_jar().save_json(tmp_path / "nowhere" / "cookies.json")


def test_the_standard_library_reads_our_cookies_txt_and_we_its(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.txt", tmp_path / "theirs.txt"
    jar = CookieJar()
    jar.set("a", "1", "example.org", expires=LATER)
    jar.set("b", "2", ".example.org", "/x", secure=True, expires=LATER)
    jar.save_netscape(ours)
    other = http.cookiejar.MozillaCookieJar(ours)
    other.load()
    read = {(cookie.name, cookie.value, cookie.domain, cookie.path, cookie.secure, cookie.expires) for cookie in other}
    assert read == {("a", "1", "example.org", "/", False, LATER), ("b", "2", ".example.org", "/x", True, LATER)}
    other.save(str(theirs))
    again = CookieJar()
    again.load_netscape(theirs)
    assert facts(again) == facts(jar)


def test_a_cookies_txt_as_others_write_it() -> None:
    text = (
        "# http://curl.se/docs/http-cookies.html\r\n\r\n"
        f"#HttpOnly_.example.org\tTRUE\t/\tTRUE\t{int(LATER)}\tsid\ta\tb\r\n"
        "example.com\tFALSE\t/\tFALSE\t0\tempty\t\r\n"
        "example.com\tFALSE\t/\tFALSE\t0\tlost\r\n"
        "example.com\tFALSE\t/\tFALSE\t1\tgone\tx\n"
    )
    jar = CookieJar()
    jar.load_netscape(io.StringIO(text))
    assert jar.header_for(parse("https://x.example.org/")) == "sid=a\tb"
    assert jar.header_for(parse("http://example.com/")) == "empty=; lost="
    assert [cookie.http_only for cookie in jar] == [True, False, False]


@pytest.mark.parametrize(
    "line",
    [
        "<html>",
        "a.example\tMAYBE\t/\tFALSE\t0\tn\tv",
        "a.example\tFALSE\t/\tFALSE\tsoon\tn\tv",
        "a b\tFALSE\t/\tFALSE\t0\tn\tv",
        "a.example\tFALSE\tx\tFALSE\t0\tn\tv",
        "a.example\tFALSE\t/\tFALSE\t0\t__Host-n\tv",
        "a.example\tFALSE\t/\tFALSE\t0\tn\thunter2;x",
    ],
)
def test_a_broken_cookies_txt_is_named_by_its_line(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 ") as caught:
        CookieJar().load_netscape(io.StringIO(f"# Netscape HTTP Cookie File\n{line}\n"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        "",
        [],
        {},
        {"cookies": {}},
        {"cookies": [1]},
        {"cookies": [{}]},
        {"cookies": [{"name": "n", "value": 1, "domain": "a.example"}]},
        {"cookies": [{"name": "n", "value": "v", "domain": "a.example", "expires": "soon"}]},
        {"cookies": [{"name": "n", "value": "v", "domain": "a.example", "secure": 1}]},
        {"cookies": [{"name": "n", "value": "v\r\n", "domain": "a.example"}]},
    ],
)
def test_broken_json_is_refused(document: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own where it is no JSON
        CookieJar().load_json(io.StringIO(json.dumps(document) if document else ""))


def test_json_may_leave_out_what_is_not_set() -> None:
    jar = CookieJar()
    jar.load_json(io.StringIO('{"cookies": [{"name": "n", "value": "v", "domain": "a.example"}]}'))
    assert jar.header_for(parse("http://a.example/x")) == "n=v"
