"""Plain lines about files that take long, and helps that fit on a terminal."""

from __future__ import annotations

import pytest

from aiohttpconn.cli import main, progress
from aiohttpconn.cli.progress import Meter, Report


@pytest.mark.parametrize("quiet", [False, True])
def test_a_line_from_time_to_time(
    quiet: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: clock[0])
    report = Report(quiet=quiet)
    known, unknown = Meter(report, "a\x1b", 40 << 20, 10 << 20), Meter(report, "b", None)
    for clock[0] in (1.0, 9.0, 11.0, 12.0, 21.0):
        known.advance(2 << 20)
    unknown.advance(42)
    said = ["a\\x1b: 40%, 16.0 MiB, 558.5 KiB/s", "a\\x1b: 50%, 20.0 MiB, 409.6 KiB/s", "b: 42 B, 2 B/s"]
    assert capsys.readouterr().err.splitlines() == ([] if quiet else said)


@pytest.mark.parametrize("command", [[], ["download"], ["map"], ["bench"], ["demo"]])
def test_helps_are_no_wider_than_100_columns(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "exit codes: 0 " in said or command == ["demo"]
    assert max(map(len, said.splitlines())) <= 100
