"""Mistakes of the user's, told from errors of the program."""


class UserError(ValueError):
    """Something in a config, in the data or in a command is not as it must be.

    Its message names the file or key, the value found, and what is allowed or what helps. The tools print it without a
    traceback.
    """


class MissingFileError(UserError, FileNotFoundError):
    """A file that is needed does not exist."""


class ExistingRunError(UserError, FileExistsError):
    """A work dir holds another run."""


class InstallationError(UserError, RuntimeError):
    """The installed packages do not fit together."""


class DivergedError(UserError, FloatingPointError):
    """Training has diverged; the remedy is in the settings."""
