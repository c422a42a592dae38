"""What a run prints; its log files keep everything."""

import logging
from typing import Any

from mmengine.logging import logger as stock_logger

# How messages begin that mmengine logs for each Runner: environment, config, hooks, and notices without a consequence.
FILE_ONLY = (
    '\n' + '-' * 60 + '\nSystem environment',
    'Config:\n',
    'Hooks will be executed in the following order',
    'Distributed training is not used',
    'The prefix is not set in metric class',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    'Checkpoints will be saved to',
    'Saving checkpoint at',
    'Exp name:',
    'Load checkpoint from',
    'Loads checkpoint by',
    'resumed epoch:',
    'Results has been saved to',
    'paramwise_options -- ',
)
# How lines begin that the toolboxes print beside all logs.
PRINTED = ('Could not import OneDL', 'Loads checkpoint by')


class ConsoleFilter(logging.Filter):
    """Passes all records but the stock INFO and WARNING messages that begin with one of ``FILE_ONLY``."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is printed."""
        return record.levelno >= logging.ERROR or not str(record.msg).startswith(FILE_ONLY)


def drop_printed_chatter() -> None:
    """Do not show ``PRINTED`` lines; a tool calls this before it imports a toolbox."""
    vars(stock_logger)['print'] = _print_relevant  # `print_log` calls `print` where it is given no logger


def _print_relevant(message: Any) -> None:
    if not str(message).startswith(PRINTED):
        print(message)


def keep_chatter_in_files(logger: logging.Logger) -> None:
    """Print only what tells the user something about the run; log files are not changed."""
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.addFilter(ConsoleFilter())
