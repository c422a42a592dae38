"""How every tool starts and ends.

This module imports nothing that takes long, so that ``--help`` and a wrong argument are answered at once.
"""

import argparse
import os
import pickle
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmdmt.errors import ALLOW_PICKLE, UserError, own_message
from mmdmt.files import check_file, check_folder
from mmdmt.installation import check_packages

MESSAGE_LINES = 3
WHERE = '--debug shows where'
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


def output_file(text: str) -> Path:
    """Type of an argument: a file that the tool writes, at the end of its work."""
    return _checked(text, check_file)


def output_path(text: str) -> Path:
    """Type of an argument: a file or a folder that the tool writes, and checks itself."""
    return _checked(text, lambda _: None)


def output_folder(text: str) -> Path:
    """Type of an argument: a folder that the tool writes into."""
    return _checked(text, check_folder)


def _checked(text: str, check: Callable[[str], None]) -> Path:
    if not text:
        raise argparse.ArgumentTypeError('is empty: it must be a path')
    try:
        check(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return Path(text)


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


# Blanks of a list that separate its elements: behind a comma or an opening bracket, before a comma or a closing one.
BLANKS_BETWEEN_ELEMENTS = re.compile(r'(?<=[,(\[]) +| +(?=[,)\]])')
BLANK = '\0'  # no argument of a program has it


class DictOptions(argparse.Action):
    """mmengine's ``DictAction``, imported when it is used. Unlike it, this one keeps the blanks of names.

    >>> parser = argparse.ArgumentParser()
    >>> _ = parser.add_argument('--cfg-options', nargs='+', action=DictOptions)
    >>> parser.parse_args(['--cfg-options', 'data_root=my data (1)', 'names=[traffic light, car]']).cfg_options
    {'data_root': 'my data (1)', 'names': ['traffic light', 'car']}
    """

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Read key=value pairs."""
        with told_in_short():
            from mmengine.config import DictAction

        kept = [self._with_blanks_kept(value) for value in values]
        try:
            DictAction(self.option_strings, self.dest, nargs=self.nargs)(parser, namespace, kept, option)
        except (ValueError, AssertionError, RecursionError):  # mmengine recurses without end into `key=dict(...)`
            parser.error(f'{option}: must be key=value pairs with numbers, texts, lists or tuples; got {values}')
        setattr(namespace, self.dest, self._with_blanks(getattr(namespace, self.dest)))

    @staticmethod
    def _with_blanks_kept(pair: str) -> str:
        key, separator, value = pair.partition('=')
        value = value.strip('\'" ')
        if ',' in value or (value[:1], value[-1:]) in (('(', ')'), ('[', ']')):  # a list, as mmengine tells them
            value = BLANKS_BETWEEN_ELEMENTS.sub('', value)
        return key + separator + value.replace(' ', BLANK)

    @classmethod
    def _with_blanks(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: cls._with_blanks(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(cls._with_blanks(item) for item in value)
        return value.replace(BLANK, ' ') if isinstance(value, str) else value


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
    for name in ('stdout', 'stderr'):
        if getattr(sys, name) is None:  # closed by whoever started the tool
            setattr(sys, name, open(os.devnull, 'w', encoding='utf-8'))  # noqa: SIM115  # as long as the process
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
        told = _told(error)
        if '--debug' in sys.argv or told is None:
            raise
        print('error: ' + '\n'.join(own_message(told).splitlines()[:MESSAGE_LINES]), file=sys.stderr)
        sys.exit(getattr(error, 'status', 2))


def _told(error: Exception) -> Exception | None:
    """The error that a user can understand; none if it is a fault of the program."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, pickle.UnpicklingError):
        return _refused(error)
    assert isinstance(error, OSError)
    if error.errno is None:  # no answer of the system, or one that a data loader's worker has put into its message
        message = own_message(error)
        return UserError(f'{message} ({WHERE})') if message.startswith('[Errno ') else None
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return UserError(f'{" -> ".join(names) or type(error).__name__}: {error.strerror or error} ({WHERE})')


def _refused(error: pickle.UnpicklingError) -> UserError:
    from mmdmt.untrusted import refused

    return refused('a file', error)
