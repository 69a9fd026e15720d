"""The command line as a value: what each option means, and what is refused."""

from __future__ import annotations

import io
import os
from dataclasses import fields
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from aiohttpconn import UNSET, __version__
from aiohttpconn.cli.arguments import Options, parse_arguments
from aiohttpconn.cli.exits import UsageError

if TYPE_CHECKING:
    from pathlib import Path

URL = "http://example.org/"
FORM = ("Content-Type", b"application/x-www-form-urlencoded")


def test_a_url_alone_is_fetched_by_the_defaults() -> None:
    assert parse_arguments([URL]) == Options(urls=(URL,))


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["-o", "x"], "output", "x"),
        (["--output", "x"], "output", "x"),
        (["-O"], "remote_names", True),
        (["--remote-name"], "remote_names", True),
        (["-i"], "include_heads", True),
        (["--include"], "include_heads", True),
        (["-f"], "fail", True),
        (["--fail"], "fail", True),
        (["--no-redirects"], "follow_redirects", False),
        (["-X", "PURGE"], "method", "PURGE"),
        (["--request", "PURGE"], "method", "PURGE"),
        (["-H", "A: 1", "--header", "b:\t2 "], "headers", (("A", b"1"), ("b", b"2"))),
        (["-H", "A:"], "headers", (("A", b""),)),
        (["-H", "A: x:y"], "headers", (("A", b"x:y"),)),
        (["-H", "A: grüße"], "headers", (("A", os.fsencode("grüße")),)),
        (["-x", "http://proxy:1"], "proxy", "http://proxy:1"),
        (["--proxy", "proxy:1"], "proxy", "http://proxy:1"),
        (["-x", ""], "proxy", None),
        ([], "proxy", UNSET),
        (["-k"], "verify", False),
        (["--insecure"], "verify", False),
        (["--cacert", "ca.pem"], "verify", "ca.pem"),
        (["--cert", "c.pem"], "cert", ("c.pem", None)),
        (["-E", "c.pem", "--key", "k.pem"], "cert", ("c.pem", "k.pem")),
        (["--timeout", "2.5"], "timeout", 2.5),
        (["--timeout", "1m"], "timeout", 60.0),
        (["--concurrency", "3"], "concurrency", 3),
        (["-q"], "quiet", True),
    ],
)
def test_an_option_sets_its_field_and_no_other(arguments: list[str], field: str, value: object) -> None:
    options = parse_arguments([*arguments, URL])
    assert getattr(options, field) == value
    default = Options(urls=(URL,))
    names = {each.name for each in fields(Options)}
    changed = {name for name in names if getattr(options, name) != getattr(default, name)}
    assert changed <= {field}


def test_options_may_stand_between_and_after_urls() -> None:
    options = parse_arguments(["http://a/", "-i", "http://b/", "-X", "HEAD", "http://c/", "-f"])
    assert options.urls == ("http://a/", "http://b/", "http://c/")
    assert (options.include_heads, options.method, options.fail) == (True, "HEAD", True)


# --- data -------------------------------------------------------------------------------------------------------------


def test_data_makes_it_a_form_by_post() -> None:
    options = parse_arguments(["-d", "a=1&b=ü", URL])
    assert (options.method, options.data, options.headers) == ("POST", "a=1&b=ü".encode(), (FORM,))


def test_data_leaves_a_given_method_and_type_alone() -> None:
    options = parse_arguments(["-d", "{}", "-X", "PUT", "-H", "content-type: application/json", URL])
    assert (options.method, options.headers) == ("PUT", (("content-type", b"application/json"),))


def test_data_may_be_empty() -> None:
    options = parse_arguments(["-d", "", URL])
    assert (options.method, options.data) == ("POST", b"")


def test_data_of_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"a\r\n\x00b\n")
    assert parse_arguments(["-d", f"@{tmp_path / 'in'}", URL]).data == b"a\r\n\x00b\n"


def test_data_of_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"from a pipe\n")))
    assert parse_arguments(["-d", "@-", URL]).data == b"from a pipe\n"


def test_repeated_data_is_joined(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"b=2")
    assert parse_arguments(["-d", "a=1", "-d", f"@{tmp_path / 'in'}", "-d", "c=3", URL]).data == b"a=1&b=2&c=3"


# --- where bodies go --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "saves"), [([], False), (["-o", "-"], False), (["-o", "x"], True), (["-O"], True)]
)
def test_whether_bodies_are_saved(arguments: list[str], saves: bool) -> None:
    assert parse_arguments([*arguments, URL]).saves is saves


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "URL"),
        (["-i"], "URL"),
        (["-o", "x", URL, URL], "-O"),
        (["-o", "-", URL, URL], "-O"),
        (["-o", "x", "-O", URL], "not allowed with"),
        (["-k", "--cacert", "x", URL], "not allowed with"),
        (["--timeout", "0", URL], "positive"),
        (["--timeout", "-1", URL], "positive"),
        (["--timeout", "nan", URL], "positive"),
        (["--timeout", "inf", URL], "positive"),
        (["--timeout", "soon", URL], "'soon'"),
        (["--concurrency", "0", URL], "from 1"),
        (["--concurrency", "1.5", URL], "from 1"),
        (["--concurrency", "²", URL], "from 1"),
        (["-H", "no colon", URL], "Name: value"),
        (["-d", "@/nonexistent/file", URL], "No such file"),
        (["--nonsense", URL], "--nonsense"),
        (["--insec", URL], "--insec"),
        (["-o"], "-o"),
    ],
)
def test_what_cannot_be_acted_on_is_refused(arguments: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_arguments(arguments)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in (
        "-o",
        "-O",
        "-i",
        "-X",
        "-H",
        "-d",
        "-x",
        "-k",
        "-f",
        "-q",
        "--cacert",
        "--timeout",
        "--no-redirects",
    ):
        assert f"  {option}" in text, option
    assert "aiohttpconn demo" in text
    assert max(map(len, text.splitlines())) <= 100


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"aiohttpconn {__version__}\n"
