"""Progress bars on a terminal, by rich (extra ``cli``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn

from ..download.bars import Name, progress_bars
from .progress import Meter, Report, one_line

if TYPE_CHECKING:
    from types import TracebackType


class BarReport(Report):
    """A bar for every download on its way; a line for every one that is over."""

    def __init__(self) -> None:
        super().__init__()
        self._console = console = Console(stderr=True)
        self._bars = progress_bars(console, transient=True)
        self._tasks: dict[Meter, TaskID] = {}

    def failed(self, text: str) -> None:
        self._line(f"aiohttpconn: {text}", "red")

    def saved(self, name: str, text: str) -> None:
        self._line(f"✓ {name}  {text}", "green")

    def _line(self, text: str, style: str) -> None:
        self._console.print(one_line(text), style=style, markup=False, highlight=False, soft_wrap=True)

    def begun(self, meter: Meter) -> None:
        self._tasks[meter] = self._bars.add_task(one_line(meter.name), total=meter.total)

    def moved(self, meter: Meter) -> None:
        self._bars.update(self._tasks[meter], completed=meter.size, total=meter.total)

    def ended(self, meter: Meter) -> None:
        self._bars.remove_task(self._tasks.pop(meter))

    def __enter__(self) -> Report:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()


class OneBar:
    """One bar for a whole run, gone when it is over."""

    def __init__(self) -> None:
        self._progress = Progress(
            BarColumn(bar_width=24), TaskProgressColumn(), Name(), console=Console(stderr=True), transient=True
        )
        self._task = self._progress.add_task("", total=None)
        self._progress.start()

    def show(self, text: str, share: float | None) -> None:
        """`share` is from 0.0 to 1.0; None while it is not known."""
        self._progress.update(
            self._task, description=text, completed=share or 0.0, total=None if share is None else 1.0
        )

    def close(self) -> None:
        """Take it away."""
        self._progress.stop()
