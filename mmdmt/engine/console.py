"""What of the log messages a user sees; the log files keep everything."""

import logging
import sys
from typing import Any

from mmengine.logging import logger as stock_logger
from mmengine.logging.logger import MMFormatter

FILE_ONLY = dict(file_only=True)
"""``extra`` of a message that only the log file shall have."""
# How warnings of mmengine begin that have no consequence.
NOTICES = (
    'Distributed training is not used',
    'The prefix is not set in metric class',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
)
TABLES = ('per class results:', '\n+--')
"""How messages begin that show the result of each class."""
# How lines begin that the toolboxes print beside all logs.
PRINTED = ('Could not import OneDL', 'Loads checkpoint by')


def drop_printed_chatter() -> None:
    """Do not show ``PRINTED`` lines; a tool calls this before it imports a toolbox."""
    vars(stock_logger)['print'] = _print_relevant  # `print_log` calls `print` where it is given no logger


def _print_relevant(message: Any) -> None:
    if not str(message).startswith(PRINTED):
        print(message)


def show(logger: logging.Logger, least: int = logging.WARNING, results: bool = False) -> None:
    """Show the messages of a logger from a level on, in short lines; with ``log_level='DEBUG'``, show all as they are.

    mmengine logs environment, config, hooks, each validated class and more for every Runner. Its log files are not
    changed.

    Args:
        logger: The logger.
        least: The level. Where ``log_level`` is higher, that one holds.
        results: Also show ``TABLES`` of results.
    """
    for handler in logger.handlers:
        if not isinstance(handler, logging.StreamHandler) or isinstance(handler, logging.FileHandler):
            continue
        handler.setStream(_CurrentOutput())
        if handler.level > logging.DEBUG:
            handler.setFormatter(_formatter())
            handler.addFilter(ScreenFilter(least, results))


class ScreenFilter(logging.Filter):
    """Passes records from a level on but ``NOTICES``, and ``TABLES`` of results; see :func:`show`."""

    def __init__(self, least: int, results: bool = False) -> None:
        super().__init__()
        self.least, self.results = least, results

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown."""
        message = str(record.msg)
        if record.levelno < logging.ERROR and (getattr(record, 'file_only', False) or message.startswith(NOTICES)):
            return False
        return record.levelno >= self.least or (self.results and message.startswith(TABLES))


def _formatter() -> logging.Formatter:
    formatter = MMFormatter(color=sys.stdout.isatty(), datefmt='%m/%d %H:%M:%S')
    formatter.info_format = '%(asctime)s  %(message)s'
    return formatter


class _CurrentOutput:
    """The standard output as it is when a line is written: while a live line is shown, rich writes above it."""

    closed = False

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()
