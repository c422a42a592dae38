"""How every tool starts and ends."""

import argparse
import sys
import warnings
from collections.abc import Callable

from mmdmt.errors import UserError

MESSAGE_LINES = 3
# Warnings of the toolboxes about what a run does not use, or does on purpose.
IRRELEVANT_WARNINGS = (
    'Fail to import ``MultiScaleDeformableAttention``',
    'The draw is False',
    '.*instance named of .* has been created, the method `get_instance`',
    'The shape of value will convert from',
    '``build_pixel_sampler`` would be deprecated',
)


def add_debug_argument(parser: argparse.ArgumentParser) -> None:
    """The argument that :func:`run_tool` looks for."""
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error, too')


def run_tool(main: Callable[[], int | None]) -> None:
    """Run the main function of a tool and exit with its status.

    A :class:`~mmdmt.errors.UserError` is printed on stderr, in at most three lines, with status 2. With ``--debug``
    its traceback is shown instead. ``IRRELEVANT_WARNINGS`` are not shown.
    """
    for message in IRRELEVANT_WARNINGS:
        warnings.filterwarnings('ignore', message=message)
    try:
        status = main()
    except UserError as error:
        if '--debug' in sys.argv:
            raise
        lines = str(error).splitlines()[:MESSAGE_LINES]
        print('error: ' + '\n'.join(lines), file=sys.stderr)
        sys.exit(2)
    if status:
        sys.exit(status)
