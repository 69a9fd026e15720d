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
        jar.set(f"c{number}", "v", "a.b.example" if number % 2 else ".b.example")
    file = io.StringIO()
    getattr(jar, f"save_{form}")(file)
    again = CookieJar()
    getattr(again, f"load_{form}")(io.StringIO(file.getvalue()))
    assert again.header_for(parse("http://a.b.example/")) == "c3=v; c1=v; c2=v"


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


@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_ends_flags_and_marks_as_some_write_them(bom: str, tmp_path: Path) -> None:
    lines = [
        "example.com\tfalse\t/\tFalse\t\tempty\t1",
        f"example.com\tFALSE\t/\tfalse\t{LATER}\tfraction\t2",
        f"example.com\tFALSE\t/\tfalse\t{'9' * 5000}\tfar\t3",
        ".example.org\ttrue\t/\ttrue\t0\tbelow\t4",
        "example.com\tFALSE\t/\tFALSE\t-1.5\tgone\t5",
    ]
    text = bom + "\n".join(lines)
    path = tmp_path / "cookies.txt"
    path.write_text(text, "utf-8")
    for source in (io.StringIO(text), path):
        jar = CookieJar()
        jar.load_netscape(source)
        assert jar.header_for(parse("http://example.com/")) == "empty=1; fraction=2; far=3"
        assert jar.header_for(parse("https://x.example.org/")) == "below=4"
        ends = {cookie.name: cookie.expires for cookie in jar}
        assert (ends["empty"], ends["fraction"]) == (None, LATER)


def test_a_value_outside_latin_1_is_sent_as_it_is_in_the_file(tmp_path: Path) -> None:
    line = "example.com\tFALSE\t/\tFALSE\t0\tn\t\u20ac5\nexample.com\tFALSE\t/\tFALSE\t0\tm\tx\n"
    path = tmp_path / "cookies.txt"
    path.write_text(line, "utf-8")
    for source in (path, io.StringIO(line)):
        jar = CookieJar()
        jar.load_netscape(source)
        value = jar.header_for(parse("http://example.com/"))
        assert value is not None
        assert value.encode("latin-1") == "n=\u20ac5; m=x".encode()


def test_what_a_file_has_for_a_public_suffix_is_for_that_host_alone() -> None:
    text = "".join(f"{domain}\tTRUE\t/\tFALSE\t0\tn\tv\n" for domain in (".co.uk", "localhost", ".example.org"))
    from_text, from_json = CookieJar(), CookieJar()
    from_text.load_netscape(io.StringIO(text))
    entries = [
        {"name": "n", "value": "v", "domain": domain, "host_only": False}
        for domain in ("co.uk", "localhost", "example.org")
    ]
    from_json.load_json(io.StringIO(json.dumps({"cookies": entries})))
    for jar in (from_text, from_json):
        assert {cookie.domain: cookie.host_only for cookie in jar} == {
            "co.uk": True,
            "localhost": True,
            "example.org": False,
        }
        assert jar.header_for(parse("http://shop.co.uk/")) is None
        assert jar.header_for(parse("http://localhost:8000/")) == "n=v"


def test_what_has_expired_in_a_file_takes_nothing_out() -> None:
    jar = CookieJar()
    jar.set("n", "live", "a.example")
    jar.load_netscape(io.StringIO("a.example\tFALSE\t/\tFALSE\t1\tn\told\n"))
    jar.load_json(io.StringIO('{"cookies": [{"name": "n", "value": "old", "domain": "a.example", "expires": 1}]}'))
    assert jar["n"] == "live"


def test_the_session_goes_to_the_standard_library_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "cookies.txt"
    jar = CookieJar()
    jar.set("session", "1", "example.org", http_only=True)
    jar.set("", "nameless", ".example.org", "/x", secure=True)
    jar.save_netscape(path)
    theirs = http.cookiejar.MozillaCookieJar(path)
    theirs.load(ignore_discard=True, ignore_expires=True)
    assert len(theirs) == 2
    for cookie in theirs:  # 0 is what all others write for the session; this one reads it as a time
        cookie.expires, cookie.discard = None, True
    theirs.save(ignore_discard=True)
    assert "\t\tsession\t" in path.read_text()
    again = CookieJar()
    again.load_netscape(path)
    assert facts(again) == facts(jar)


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
        {"cookies": [{"name": "n", "value": "v", "domain": "a.example", "expires": float("nan")}]},
        {"cookies": [{"name": "n", "value": "v", "domain": "a.example", "expires": float("inf")}]},
    ],
)
def test_broken_json_is_refused(document: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own where it is no JSON
        CookieJar().load_json(io.StringIO(json.dumps(document) if document else ""))
    with pytest.raises(ValueError, match="deep"):
        CookieJar().load_json(io.StringIO("[" * 100_000))


def test_an_end_that_is_no_time_is_named() -> None:
    for end in ("NaN", "Infinity", "-Infinity"):
        text = f'{{"cookies": [{{"name": "n", "value": "v", "domain": "a.example", "expires": {end}}}]}}'
        with pytest.raises(ValueError, match=r"^cookie 1 of the file .*seconds since 1970 or None, not (nan|-?inf)"):
            CookieJar().load_json(io.StringIO(text))


@pytest.mark.parametrize("end", [10**400, -(10**400), 1e300], ids=["int", "negative", "float"])
def test_an_end_beyond_all_time_is_capped(end: float) -> None:
    jar = CookieJar()
    entry = {"name": "n", "value": "v", "domain": "a.example", "expires": end}
    jar.load_json(io.StringIO(json.dumps({"cookies": [entry]})))
    assert len(jar) == (end > 0)
    jar.save_netscape(io.StringIO())


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("netscape", "a.example\tFALSE\t/\tFALSE\t0\tnew\t1\n<html>\n"),
        (
            "json",
            '{"cookies": [{"name": "new", "value": "v", "domain": "a.example"},'
            ' {"name": "n", "value": "v", "domain": ""}]}',
        ),
    ],
)
def test_a_broken_file_leaves_the_jar_as_it_was(form: str, text: str) -> None:
    jar = full_jar()
    with pytest.raises(ValueError, match=" 2 of the file"):
        getattr(jar, f"load_{form}")(io.StringIO(text))
    assert facts(jar) == facts(full_jar())


def test_json_may_leave_out_what_is_not_set() -> None:
    jar = CookieJar()
    jar.load_json(io.StringIO('{"cookies": [{"name": "n", "value": "v", "domain": "a.example"}]}'))
    assert jar.header_for(parse("http://a.example/x")) == "n=v"
