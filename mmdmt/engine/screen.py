"""Shows how far a phase is: one live line in a terminal, a plain line now and then elsewhere."""

import logging
import sys
import time
from collections.abc import Sequence

from mmengine.dist import is_main_process
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

EVERY, SHARE, LONGEST = 30.0, 0.1, 600.0
"""A plain line follows the one before after 30 s, if a tenth of the phase is done meanwhile; in any case after 600 s.

A run of many days would otherwise fill its output with thousands of lines.
"""
REFRESH = 0.25
"""Seconds between two states of the live line."""
WIDE, BAR = 100, 20
"""Columns of a terminal that has space for a bar, and of the bar."""


class Screen:
    """Shows nothing, as for all processes but the first."""

    def begin(self, title: str, total: int, unit: str) -> None:
        """Begin with a phase of ``total`` steps or images."""

    def due(self, done: int) -> bool:
        """Whether the next state shall be shown; what it says need not be computed otherwise."""
        return False

    def show(self, done: int, facts: Sequence[str]) -> None:
        """Show how many steps or images are done, and what else there is to say."""

    def say(self, text: str) -> None:
        """Print a line that stays."""

    def end(self) -> None:
        """End with a phase, however it ended."""


class PlainScreen(Screen):
    """Prints a line at most every 30 s."""

    def begin(self, title: str, total: int, unit: str) -> None:
        """Remember what the lines are about; the first one follows after 30 s."""
        self._title, self._total, self._unit = title, total, unit
        self._shown, self._time = 0, time.monotonic()

    def due(self, done: int) -> bool:
        """Whether it is time for a line."""
        waited = time.monotonic() - self._time
        return waited >= (EVERY if done - self._shown >= SHARE * self._total else LONGEST)

    def show(self, done: int, facts: Sequence[str]) -> None:
        """Print a line."""
        self._shown, self._time = done, time.monotonic()
        self.say(f'{self._title}: ' + ', '.join([f'{done}/{self._total} {self._unit}', *facts]))

    def say(self, text: str) -> None:
        """Print a line."""
        print(f'{time.strftime("%m/%d %H:%M:%S")}  {text}', flush=True)


class LiveScreen(Screen):
    """Keeps one line of a terminal up to date; what is printed meanwhile appears above it.

    The line is drawn by the thread that trains. A thread of its own could hold a lock while a data loader forks its
    workers, which would then wait for it without end.

    Args:
        console: The terminal.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._progress: Progress | None = None

    def begin(self, title: str, total: int, unit: str) -> None:
        """Draw the line."""
        self.end()
        bar = [BarColumn(bar_width=BAR)] if self._console.width >= WIDE else []
        self._space = self._console.width - (BAR + 1 if bar else 0)
        columns = (*bar, TextColumn('{task.description}', markup=False))
        self._progress = Progress(*columns, console=self._console, auto_refresh=False, transient=True)
        self._title, self._total, self._unit, self._time = title, total, unit, time.monotonic()
        self._task = self._progress.add_task(self._line(0, ()), total=total)
        self._progress.start()

    def due(self, done: int) -> bool:
        """Whether it is time to draw the line again."""
        return self._progress is not None and time.monotonic() - self._time >= REFRESH

    def show(self, done: int, facts: Sequence[str]) -> None:
        """Draw the line again; where the terminal is too narrow, its end is cut off."""
        if self._progress is not None:
            self._time = time.monotonic()
            self._progress.update(self._task, completed=done, description=self._line(done, facts), refresh=True)

    def _line(self, done: int, facts: Sequence[str]) -> str:
        line = '  '.join([f'{self._title} {done}/{self._total} {self._unit}', *facts])
        return line if len(line) <= self._space else line[: self._space - 1] + '…'

    def say(self, text: str) -> None:
        """Print a line that stays, above the live one."""
        self._console.print(text, markup=False, highlight=False)

    def end(self) -> None:
        """Remove the line."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def screen_for(log_level: int | str) -> Screen:
    """The screen of this process; one that shows nothing where ``log_level`` shows fewer messages, or all."""
    if not is_main_process() or log_level not in (logging.INFO, 'INFO'):
        return Screen()
    return LiveScreen() if sys.stdout.isatty() else PlainScreen()
