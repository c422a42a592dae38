"""How every tool starts and ends."""

import argparse
import pickle
import sys
import warnings
from collections.abc import Callable

from mmdmt.errors import UserError, own_message
from mmdmt.files import is_full
from mmdmt.untrusted import OPTION, refused, untrusted_files

MESSAGE_LINES = 3
# Warnings of the toolboxes about what a run does not use, or does on purpose.
IRRELEVANT_WARNINGS = (
    'Fail to import ``MultiScaleDeformableAttention``',
    'The draw is False',
    '.*instance named of .* has been created, the method `get_instance`',
    'The shape of value will convert from',
    '``build_pixel_sampler`` would be deprecated',
    'For binary segmentation, we suggest',  # one output, which no pseudo label of several classes has
    'When align_corners=True, the output would',
)


def add_debug_argument(parser: argparse.ArgumentParser) -> None:
    """The argument that :func:`run_tool` looks for."""
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error, too')


def add_pickle_argument(parser: argparse.ArgumentParser) -> None:
    """The argument that lets files run code, which :func:`run_tool` looks for."""
    parser.add_argument(
        OPTION,
        action='store_true',
        help='run the code in checkpoints, annotation files (.pkl, .yaml) and YAML configs; only for files you trust',
    )


def run_tool(main: Callable[[], int | None]) -> None:
    """Run the main function of a tool and exit with its status.

    A :class:`~mmdmt.errors.UserError` is printed on stderr, in at most three lines, and its status is that of the tool.
    With ``--debug``, its traceback is shown instead. ``IRRELEVANT_WARNINGS`` are not shown. Files cannot run code,
    unless ``--allow-pickle`` is given.
    """
    for message in IRRELEVANT_WARNINGS:
        warnings.filterwarnings('ignore', message=message)
    try:
        with untrusted_files(allow_pickle=OPTION in sys.argv):
            status = main()
    except (UserError, pickle.UnpicklingError, OSError) as error:
        if '--debug' in sys.argv or not (isinstance(error, UserError | pickle.UnpicklingError) or is_full(error)):
            raise
        shown: Exception = refused('a file', error) if isinstance(error, pickle.UnpicklingError) else error
        print('error: ' + '\n'.join(own_message(shown).splitlines()[:MESSAGE_LINES]), file=sys.stderr)
        sys.exit(getattr(error, 'status', 2))
    if status:
        sys.exit(status)
