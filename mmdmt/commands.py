"""The command ``mmdmt``: ``mmdmt train ...`` is ``python tools/train.py ...``, wherever the package is installed."""

import argparse
import ast
import difflib
import re
import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import mmdmt
from mmdmt.shipped import SHIPPED

RENAMED = {'make-splits': 'splits'}
# The order in which a user meets them; others follow.
FIRST = 'doctor train test predict report browse browse-pseudo-labels analyze splits experiment'.split()


def commands() -> dict[str, Path]:
    """Name of a command -> its tool: the file's name, with dashes."""
    tools = {path.stem.replace('_', '-'): path for path in (SHIPPED / 'tools').glob('*.py')}
    found = {RENAMED.get(name, name): path for name, path in tools.items()}
    return dict(sorted(found.items(), key=lambda item: (([*FIRST, item[0]]).index(item[0]), item[0])))


def summary(tool: Path) -> str:
    """What a tool does: its docstring, up to the first colon or full stop."""
    return re.split(r'[:;\n]|\.\s|\.$', ast.get_docstring(ast.parse(tool.read_text(encoding='utf-8'))) or '')[0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command as its tool is run: its arguments are the tool's, and so are its output and exit status."""
    parser = argparse.ArgumentParser(
        prog='mmdmt',
        description='Semi-supervised learning by Dynamic Mutual Training, for the OpenMMLab toolboxes.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument('-h', '--help', action='store_true', help='show this message and exit')
    parser.add_argument('--version', action='version', version=f'mmdmt {mmdmt.__version__}')
    parser.add_argument('command', nargs='?', help='one of those below; `mmdmt COMMAND --help` shows its arguments')
    parser.add_argument('arguments', nargs=argparse.REMAINDER, help='arguments of the command')
    args, tools = parser.parse_args(arguments), commands()
    if args.help or args.command is None:
        parser.epilog = 'commands:\n' + '\n'.join(f'  {name:28}{summary(tool)}' for name, tool in tools.items())
        parser.print_help(sys.stdout if args.help else sys.stderr)
        sys.exit(0 if args.help else 2)
    if args.command not in tools:
        similar = difflib.get_close_matches(args.command, tools, n=1)
        hint = f'did you mean {similar[0]}?' if similar else f'the commands are {", ".join(tools)}'
        parser.error(f'no command is called {args.command!r}; {hint}')
    run(tools[args.command], f'mmdmt {args.command}', args.arguments)


def run(tool: Path, name: str, arguments: Sequence[str]) -> None:
    """Run a tool as the main module. ``name`` is what its messages call it, which runpy does not let one choose."""
    spec = spec_from_file_location('__main__', tool.resolve())
    assert spec is not None and spec.loader is not None
    sys.argv = [name, *arguments]
    sys.modules['__main__'] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
