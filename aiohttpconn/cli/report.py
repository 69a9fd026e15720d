"""Which `Report` a run has."""

from __future__ import annotations

from .progress import Report, is_watched


def report_of(*, bars: bool, quiet: bool) -> Report:
    """Bars, if they are wanted, somebody watches, and rich is there; else lines."""
    if bars and not quiet and is_watched():
        try:
            from .bars import BarReport  # noqa: PLC0415 - it loads rich (50 ms) and needs the extra "cli"
        except ImportError:
            return Report()  # lines do as well
        return BarReport()
    return Report(quiet=quiet)
