"""Progress bars on a terminal, by rich (extra ``cli``)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

try:
    from rich.console import Console
    from rich.filesize import pick_unit_and_suffix
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        ProgressColumn,
        Task,
        TaskID,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress
    from rich.table import Column
    from rich.text import Text
except ImportError as error:
    raise ImportError("progress= shows bars by rich: pip install 'aiohttpconn[cli]'") from error

if TYPE_CHECKING:
    from .progress import Progress


class Bars:
    """A bar for every file on its way.

    - `shown`: True for bars of its own, on standard error, gone when all is over; or a `rich.progress.Progress` of the
      caller's, who starts and stops it.
    """

    def __init__(self, shown: Literal[True] | RichProgress) -> None:
        if shown is not True and not isinstance(shown, RichProgress):
            raise TypeError(f"progress must be True, False or a rich.progress.Progress, not {shown!r}")
        self._own = not isinstance(shown, RichProgress)
        self._bars = shown if isinstance(shown, RichProgress) else progress_bars(Console(stderr=True), transient=True)
        self._tasks: dict[str, TaskID] = {}

    def show(self, progress: Progress) -> None:
        if progress.path not in self._tasks:
            self._tasks[progress.path] = self._bars.add_task(_one_line(os.path.basename(progress.path)))
        self._bars.update(self._tasks[progress.path], completed=progress.done, total=progress.total)

    def hide(self, path: str) -> None:
        task = self._tasks.pop(path, None)
        if task is not None and self._own:
            self._bars.remove_task(task)

    def __enter__(self) -> Bars:
        if self._own:
            self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._own:
            self._bars.stop()


class Name(ProgressColumn):
    """The name as it is: rich's own column would read markup out of it."""

    def render(self, task: Task) -> Text:
        return Text(task.description, overflow="ellipsis", no_wrap=True)


class _Speed(ProgressColumn):
    """Bytes a second in powers of 1024, as sizes are (rich's own column has powers of ten)."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        unit, name = pick_unit_and_suffix(int(speed), ["B", "KiB", "MiB", "GiB", "TiB"], 1024)
        return Text(f"{speed / unit:.1f} {name}/s", style="progress.data.speed", justify="right")


def progress_bars(console: Console, *, transient: bool, disable: bool = False) -> RichProgress:
    """Name, bar, how much, how fast, how long still. `transient`: gone when over; `disable`: nothing is shown."""
    return RichProgress(
        Name(table_column=Column(no_wrap=True, max_width=max(12, console.width // 3))),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        # As wide as they may become, so that the bars beside them keep their length.
        DownloadColumn(binary_units=True, table_column=Column(min_width=15, no_wrap=True, justify="right")),
        _Speed(table_column=Column(min_width=12, no_wrap=True)),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=transient,
        disable=disable,
        expand=True,
    )


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "�" for char in text)
