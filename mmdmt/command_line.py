"""How every tool starts and ends.

This module imports nothing that takes long, so that ``--help`` and a wrong argument are answered at once.
"""

import argparse
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mmdmt.errors import ALLOW_PICKLE, UserError, own_message
from mmdmt.files import is_full
from mmdmt.installation import check_packages

MESSAGE_LINES = 3
# Warnings of the toolboxes about what a run does not use, or does on purpose.
IRRELEVANT_WARNINGS = (
    'Fail to import ``MultiScaleDeformableAttention``',
    'The draw is False',
    '.*instance named of .* has been created, the method `get_instance`',
    'The shape of value will convert from',
    '``build_pixel_sampler`` would be deprecated',
    'This DataLoader will create',  # the plan says it once
    'For binary segmentation, we suggest',  # one output, which no pseudo label of several classes has
    'When align_corners=True, the output would',
)


def add_debug_argument(parser: argparse.ArgumentParser) -> None:
    """The argument that :func:`run_tool` looks for."""
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error, too')


def add_pickle_argument(parser: argparse.ArgumentParser) -> None:
    """The argument that lets files run code, which :func:`run_tool` looks for."""
    parser.add_argument(
        ALLOW_PICKLE,
        action='store_true',
        help='run the code in checkpoints, annotation files (.pkl, .yaml) and YAML configs; only for files you trust',
    )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that all tools share; they mean the same as in mmsegmentation's tools."""
    parser.add_argument('--work-dir', help='folder of the run (default: work_dirs/CONFIG_NAME)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictOptions,
        default={},
        help='key=value pairs that override the config, e.g. dmt.semi.epochs=2; data_root=DIR applies to all data sets '
        "that use the config's data_root",
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    # torch.distributed.launch passes this argument; torchrun sets the environment variable instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    add_pickle_argument(parser)
    add_debug_argument(parser)


class DictOptions(argparse.Action):
    """mmengine's ``DictAction``, imported when it is used."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Read key=value pairs."""
        with told_in_short():
            from mmengine.config import DictAction

        try:
            DictAction(self.option_strings, self.dest, nargs=self.nargs)(parser, namespace, values, option)
        except (ValueError, AssertionError, RecursionError):  # mmengine recurses without end into `key=dict(...)`
            parser.error(f'{option}: must be key=value pairs with numbers, texts, lists or tuples; got {values}')


def run_tool(main: Callable[[], int | None]) -> None:
    """Run the main function of a tool and exit with its status.

    A :class:`~mmdmt.errors.UserError` is printed on stderr, in at most three lines, and its status is that of the tool.
    With ``--debug``, its traceback is shown instead. ``IRRELEVANT_WARNINGS`` are not shown. Files cannot run code,
    unless ``--allow-pickle`` is given. A tool reads its arguments before: ``--help`` then takes no import of torch.
    ``custom_imports`` of a config also finds modules in the current folder.
    """
    if not getattr(sys.flags, 'safe_path', False) and '' not in sys.path:
        sys.path.append('')  # last, so that nothing in the folder replaces a package
    for message in IRRELEVANT_WARNINGS:
        warnings.filterwarnings('ignore', message=message)
    with told_in_short():
        from mmdmt.untrusted import untrusted_files

        with untrusted_files(allow_pickle=ALLOW_PICKLE in sys.argv):
            status = main()
    if status:
        sys.exit(status)


INTERRUPTED = 128 + 2
"""Status of a tool that Ctrl-C ended, as shells give it for SIGINT."""
CLOSED = 128 + 13
"""Status of a tool whose output is read no longer, as shells give it for SIGPIPE."""


@contextmanager
def told_in_short() -> Iterator[None]:
    """Print a mistake of the user's and exit, as :func:`run_tool` does. A wrong installation is one of them.

    Imports of a tool that need the OpenMMLab packages stand in such a block.
    """
    try:
        check_packages()
        yield
    except KeyboardInterrupt:  # before a run listens to signals, or a second one after
        if '--debug' in sys.argv:
            raise
        print('error: interrupted', file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # who read the output has gone, such as `head`
        if '--debug' in sys.argv:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left must go somewhere
        sys.exit(CLOSED)
    except (UserError, pickle.UnpicklingError, OSError) as error:
        if '--debug' in sys.argv or not (isinstance(error, UserError | pickle.UnpicklingError) or is_full(error)):
            raise
        shown: Exception = _refused(error) if isinstance(error, pickle.UnpicklingError) else error
        print('error: ' + '\n'.join(own_message(shown).splitlines()[:MESSAGE_LINES]), file=sys.stderr)
        sys.exit(getattr(error, 'status', 2))


def _refused(error: pickle.UnpicklingError) -> UserError:
    from mmdmt.untrusted import refused

    return refused('a file', error)
