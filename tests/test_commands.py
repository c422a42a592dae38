"""The command `mmdmt`; a wheel of it is tried in test_wheel.py."""

import re
import subprocess
import sys

import pytest

from mmdmt import __version__
from mmdmt.commands import commands, main, run, summary
from tests.runs import run as run_program

SHOWN = """
import sys, time
from mmdmt.commands import main
try:
    main(sys.argv[1:])
finally:
    used = {'torch', 'numpy', 'mmengine', 'mmcv'} & sys.modules.keys()
    print(time.process_time(), *used, file=sys.stderr)
"""


def cost(*arguments):
    """Output of the command, its CPU seconds, and the heavy packages that it has imported."""
    done = subprocess.run([sys.executable, '-c', SHOWN, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, *packages = done.stderr.splitlines()[-1].split()
    return done.stdout, float(seconds), packages


def test_every_tool_is_a_command(root):
    tools = {path.name for path in (root / 'tools').glob('*.py')}
    assert {path.name for path in commands().values()} == tools
    assert list(commands())[:4] == ['doctor', 'train', 'test', 'predict']
    assert commands()['splits'].name == 'make_splits.py'
    assert commands()['browse-pseudo-labels'].name == 'browse_pseudo_labels.py'


def test_help_lists_the_commands_one_a_line():
    shown, seconds, packages = cost('--help')
    lines = shown.split('commands:\n')[1].splitlines()
    assert [line.split()[0] for line in lines] == list(commands())
    assert all(re.fullmatch(r'  [a-z0-9-]+ +[A-Z].{15,}[^.:]', line) for line in lines)
    assert '  train                       Run DMT, or train an ordinary config, from a config file' in lines
    assert seconds < 0.3
    assert packages == []


@pytest.mark.parametrize('name', commands())
def test_help_of_a_command_is_shown_at_once(name):
    shown, seconds, packages = cost(name, '--help')
    assert shown.startswith(f'usage: mmdmt {name} [-h]')
    assert '--debug' in shown
    assert seconds < 0.3
    assert packages == []


@pytest.mark.parametrize('tool', commands().values(), ids=commands())
def test_summary(tool):
    """Nothing is cut off within brackets or words."""
    text = summary(tool)
    assert text.count('(') == text.count(')')
    assert tool.read_text().startswith(f'"""{text}')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['trian'], "mmdmt: error: no command is called 'trian'; did you mean train?"),
        (['tets', 'x', '--json'], "mmdmt: error: no command is called 'tets'; did you mean test?"),
        (['configs/x.py'], "mmdmt: error: no command is called 'configs/x.py'; the commands are doctor, train, test, "),
        (['--work-dir', 'x', 'train'], 'mmdmt: error: unrecognized arguments: --work-dir'),
        ([], 'commands:'),
    ],
)
def test_mistakes(capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(['--version'])
    assert (ended.value.code, capsys.readouterr().out) == (0, f'mmdmt {__version__}\n')


def test_a_tool_is_the_main_module(tmp_path, monkeypatch, capsys):
    """It knows its file, gets its arguments, and its exit status is that of the command."""
    tool = tmp_path / 'tool.py'
    tool.write_text("import sys\nif __name__ == '__main__':\n    print(__file__, sys.argv)\n    sys.exit(7)\n")
    monkeypatch.setattr(sys, 'argv', ['mmdmt'])
    monkeypatch.setitem(sys.modules, '__main__', sys.modules['__main__'])
    with pytest.raises(SystemExit) as ended:
        run(tool, 'mmdmt tool', ['--x', 'y'])
    assert ended.value.code == 7
    assert capsys.readouterr().out == f'{tool} {["mmdmt tool", "--x", "y"]}\n'
    assert sys.modules['__main__'].__file__ == str(tool)


def test_the_command_as_a_module(root):
    """Also what torchrun starts."""
    done = run_program('-m', 'mmdmt', 'train', PYTHONPATH=str(root))
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1] == 'mmdmt train: error: a config file, or --resume WORK_DIR, is needed'


def test_docs_name_real_commands(root):
    rows = re.findall(r'^\| `mmdmt ([\w-]+)` \| `tools/(\w+\.py)` \|', (root / 'docs/command.md').read_text(), re.M)
    assert len(rows) >= 14
    found = {name: path.name for name, path in commands().items()}
    assert [row for row in rows if found.get(row[0]) != row[1]] == []
