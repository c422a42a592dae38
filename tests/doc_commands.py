"""Finds the commands in the pages, and what is wrong with one, without running it."""

import argparse
import contextlib
import io
import re
import runpy
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from mmdmt.engine.cli import read_config
from mmdmt.engine.plan import RunPlan
from mmdmt.errors import UserError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]
BLOCK = re.compile(r'^ *```bash\n(.*?)^ *```', re.DOTALL | re.MULTILINE)
INLINE = re.compile(r'(?<!`)`((?:python |mmdmt |tools/\w+\.(?:py|sh) |\.venv/bin/)[^`\n]*)`(?!`)')
PLACEHOLDER = re.compile(r'\b[A-Z][A-Z_]{2,}\b|\.\.\.')
# Files that a page tells the reader to write, or to have.
WRITTEN = {'configs/dmt/own.py', 'pi_digits.py', 'work_dirs/first'}
# Programs that are not ours. Only what the pages tell them to do with our files is checked.
OTHERS = {
    'git', 'cp', 'export', 'cd', 'sbatch', 'srun', 'squeue', 'scancel', 'scontrol', 'sinfo', 'snakemake', 'tensorboard',
    'mlflow', 'wandb', 'mkdocs', 'ruff', 'mypy', 'cffconvert', 'jupyter', 'apt-get', '.ci/run', 'nvidia-smi', 'mim',
    'tar', 'mkdir', 'ls', 'open', 'tail',
}  # fmt: skip
NAMES = {'splits': 'make_splits'}


class Parsed(BaseException):
    """Ends a script after it has read its arguments."""

    def __init__(self, parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
        super().__init__()
        self.parser, self.read = parser, args


def commands(text: str) -> Iterator[str]:
    """The commands in the blocks of a page, without comments."""
    for block in BLOCK.findall(text):
        for line in re.sub(r'\\\n', ' ', block).splitlines():
            yield from (part.strip() for part in _uncommented(line).split(' && ') if part.strip())


def mentioned(text: str) -> Iterator[str]:
    """The commands within the sentences of a page, which may lack arguments."""
    yield from (found.strip() for found in INLINE.findall(BLOCK.sub('', text)))


def _uncommented(line: str) -> str:
    return re.sub(r'(^|\s+)#.*', '', line)


def fault(command: str) -> str | None:
    """What is wrong with a command; None if nothing is."""
    words = shlex.split(command)
    while words and re.fullmatch(r'[A-Z_]+=\S*', words[0]):
        words.pop(0)
    words = _without_launcher(words)
    program = words[0].removeprefix('.venv/bin/') if words else ''
    if program in ('python', 'python3', 'mmdmt') and len(words) < 2:
        return None
    if program == 'mmdmt':
        return None if words[1].startswith('-') or PLACEHOLDER.search(words[1]) else _ours(_tool(words[1]), words[2:])
    if program in ('python', 'python3'):
        return _python(words[1:])
    if program == 'bash' and len(words) > 1:
        words, program = words[1:], words[1]
    if program.startswith(('tools/', 'tests/')) and program.endswith('.sh'):
        return None if (ROOT / program).is_file() else f'{program} does not exist'
    if program.startswith('tools/'):
        return _ours(program, words[1:])
    if program == 'pip':
        return _extras(words)
    return None if program in OTHERS else f'{program} is not a known program'


def _without_launcher(words: Sequence[str]) -> list[str]:
    """A command without torchrun or srun before it."""
    if words and words[0] in ('torchrun', 'srun'):
        own = next(
            (index for index, word in enumerate(words) if word == '-m' or word.startswith(('tools/', 'python'))), 0
        )
        rest = list(words[own:])
        return ['python', *rest] if rest[0].startswith(('tools/', '-m')) else rest
    return list(words)


def _tool(name: str) -> str:
    return f'tools/{NAMES.get(name, name.replace("-", "_"))}.py'


def _python(words: Sequence[str]) -> str | None:
    if words[:1] == ['-m']:
        if words[1] == 'mmdmt':
            return fault(' '.join(map(shlex.quote, words[1:])))
        return None if words[1] in ('pytest', 'venv', 'pip', 'build') else f'-m {words[1]} is not known'
    return _ours(words[0], words[1:])


def _extras(words: Sequence[str]) -> str | None:
    section = (ROOT / 'pyproject.toml').read_text().split('[project.optional-dependencies]')[1].split('\n[')[0]
    known = set(re.findall(r'^([\w-]+) = \[', section, re.MULTILINE))
    named = {name for word in words for part in re.findall(r'^\.\[(.*)\]$', word) for name in part.split(',')}
    wrong = sorted(named - known)
    return f'there is no extra {wrong[0]}' if wrong else None


def parse(path: str, argv: Sequence[str]) -> Parsed | str:
    """The arguments that a script of ours reads from a command line, or its refusal."""
    original = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        raise Parsed(self, original(self, *args, **kwargs))

    errors = io.StringIO()
    with (
        mock.patch.object(argparse.ArgumentParser, 'parse_args', stop),
        mock.patch.object(sys, 'argv', [path, *argv]),
        mock.patch.object(sys, 'path', list(sys.path)),
        contextlib.redirect_stderr(errors),
    ):
        try:
            runpy.run_path(str(ROOT / path), run_name='__main__')
        except Parsed as parsed:
            return parsed
        except SystemExit:
            return errors.getvalue().strip().splitlines()[-1]
    return f'{path} reads no arguments'


def _ours(path: str, argv: Sequence[str]) -> str | None:
    if not (ROOT / path).is_file():
        return f'{path} does not exist'
    if PLACEHOLDER.search(' '.join(argv)):
        argv = [PLACEHOLDER.sub('0', word) if word.startswith('--') else word for word in argv]
    parsed = parse(path, argv)
    return parsed if isinstance(parsed, str) else _settings(vars(parsed.read))


def _settings(args: Mapping[str, Any]) -> str | None:
    """Look at the config or plan of a command, and at its options for it."""
    config = args.get('config') or args.get('plan')
    if config is None or PLACEHOLDER.search(str(config)) or config in WRITTEN:
        return None
    path = _config(str(config))
    if path is None:
        return f'config {config} does not exist'
    if args.get('plan'):
        return None
    try:
        before = read_config(path, {})
        after = read_config(path, args.get('cfg_options') or {})
        if 'runner_type' in after:
            RunPlan.of(after)
    except UserError as error:
        return str(error)
    wrong = [key for key in args.get('cfg_options') or () if not key.startswith('dmt.') and not _has(before, key)]
    return f'the config has no {wrong[0]}' if wrong else None


def _config(name: str) -> Path | None:
    """The config file of a name: as it is, that of the package, or that of a work dir, which is called like it."""
    name = name.removeprefix('mmdmt::')
    places = [ROOT / name, ROOT / 'configs' / name, ROOT / f'configs/{name}.py']
    found = next((place for place in places if place.is_file()), None)
    if found is None and (name.startswith('work_dirs/') or '/' not in name.rstrip('/')):
        folder, *rest = name.removeprefix('work_dirs/').split('/')
        if name.startswith('work_dirs/') and rest in ([], ['best.py'], ['config.py'], ['']):
            found = next((ROOT / 'configs').rglob(f'{folder}.py'), None)
    return found


def _has(node: Any, key: str) -> bool:
    for part in key.split('.'):
        try:
            node = node[int(part)] if isinstance(node, list | tuple) else node[part]
        except (KeyError, IndexError, ValueError, TypeError):
            return False
    return True
