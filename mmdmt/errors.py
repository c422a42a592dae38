"""Mistakes of the user's, told from errors of the program."""

import re
from collections.abc import Iterable

ALLOW_PICKLE = '--allow-pickle'
"""Option of the tools that lets files run code."""


class UserError(ValueError):
    """Something in a config, in the data or in a command is not as it must be.

    Its message names the file or key, the value found, and what is allowed or what helps. The tools print it without a
    traceback.
    """

    status = 2
    """What a tool ends with."""


class MissingFileError(UserError, FileNotFoundError):
    """A file that is needed does not exist."""


class RefusedFileError(UserError):
    """A file could run code, or lead to files outside of where it should."""


class DamagedFileError(UserError):
    """A file is cut off, or its content is not what was written."""


class ExistingRunError(UserError, FileExistsError):
    """A work dir holds another run."""


class InUseError(UserError):
    """Another process works in a work dir."""


class DiskFullError(UserError, OSError):
    """The disk is full, or will be."""


class UnwritableError(UserError, OSError):
    """A file or folder cannot be written."""


class InstallationError(UserError, RuntimeError):
    """The installed packages do not fit together."""


class LostProcessError(UserError, RuntimeError):
    """Another process of the run has ended, or does not answer; started again, the run goes on."""

    status = 75  # EX_TEMPFAIL


class DivergedError(UserError, FloatingPointError):
    """Training has diverged; the remedy is in the settings."""


def own_message(error: Exception) -> str:
    """Message of an error; of one in a data loader's worker, what it was before torch put a traceback before it."""
    message = str(error)
    if message.startswith('Caught ') and 'Original Traceback' in message:
        message = re.split(r'^(?:\w+\.)*\w+Error: ', message, flags=re.MULTILINE)[-1]
    return message.strip()


def listed(names: Iterable[object], shown: int = 20) -> str:
    """Names for a message, the first ``shown`` of them.

    >>> listed(['cat', 'dog', 'owl'], 2)
    'cat, dog, ...'
    """
    texts = [str(name) for name in names]
    return ', '.join(texts[:shown] + ['...'] * (len(texts) > shown))
