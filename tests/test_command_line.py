import argparse
import re
import subprocess
import sys
import warnings
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import DictAction

from mmdmt.command_line import CLOSED, add_common_arguments, add_debug_argument, run_tool
from mmdmt.errors import ExistingRunError, LostProcessError, MissingFileError, UserError


def test_status_of_a_tool_that_ends():
    run_tool(lambda: None)
    run_tool(lambda: 0)
    with pytest.raises(SystemExit) as ended:
        run_tool(lambda: 1)
    assert ended.value.code == 1


@pytest.mark.parametrize(
    ('error', 'status'), [(UserError, 2), (MissingFileError, 2), (ExistingRunError, 2), (LostProcessError, 75)]
)
def test_a_mistake_is_a_line_on_stderr_and_a_status(capsys, error, status):
    """75: started again, the run goes on."""

    def main():
        raise error('dmt.x=3 must be a list')

    with pytest.raises(SystemExit) as ended:
        run_tool(main)
    assert ended.value.code == status
    assert capsys.readouterr() == ('', 'error: dmt.x=3 must be a list\n')


def test_ctrl_c_before_a_run_begins_is_a_line(capsys, monkeypatch):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        run_tool(main)
    assert (ended.value.code, capsys.readouterr().err) == (130, 'error: interrupted\n')
    monkeypatch.setattr(sys, 'argv', ['tool', '--debug'])
    with pytest.raises(KeyboardInterrupt):
        run_tool(main)


def test_at_most_three_lines(capsys):
    def main():
        raise UserError('one\ntwo\nthree\nfour')

    with pytest.raises(SystemExit):
        run_tool(main)
    assert capsys.readouterr().err == 'error: one\ntwo\nthree\n'


def test_debug_shows_the_traceback(monkeypatch):
    def main():
        raise UserError('x')

    monkeypatch.setattr(sys, 'argv', ['tool', '--debug'])
    with pytest.raises(UserError):
        run_tool(main)
    parser = argparse.ArgumentParser()
    add_debug_argument(parser)
    assert parser.parse_args(['--debug']).debug is True


def test_errors_of_the_program_keep_their_traceback():
    def main():
        raise KeyError('x')

    with pytest.raises(KeyError):
        run_tool(main)


def test_errors_are_what_a_caller_would_catch():
    assert issubclass(UserError, ValueError)
    assert issubclass(MissingFileError, FileNotFoundError)
    assert issubclass(ExistingRunError, FileExistsError)
    assert str(MissingFileError('file x does not exist')) == 'file x does not exist'


def test_notices_of_the_toolboxes_are_not_shown(recwarn):
    def main():
        warnings.warn('The draw is False, it means that the hook for visualization will not take effect', stacklevel=1)
        warnings.warn('The drawing is wrong', stacklevel=1)

    with warnings.catch_warnings():
        run_tool(main)
    assert [str(warning.message) for warning in recwarn] == ['The drawing is wrong']


IN_WORKER = (
    'Caught PermissionError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File "x"\n'
)


@pytest.mark.parametrize('closed', ['>&-', '2>&-', '>&- 2>&- <&-'])
def test_streams_that_are_closed(root, tmp_path, closed):
    """As some daemons start their programs: there is nobody to tell, but the work is done."""
    (tmp_path / 'a.py').write_text(
        'import sys\n'
        f'sys.path.insert(0, {str(root)!r})\n'
        'from mmdmt.command_line import told_in_short\n'
        'with told_in_short():\n'
        '    print("a"); sys.stdout.flush(); print("b", file=sys.stderr); sys.stderr.flush()\n'
        '    open("done", "w").close()\n'
    )
    done = subprocess.run(
        ['sh', '-c', f'{sys.executable} a.py {closed}'], cwd=tmp_path, capture_output=True, check=False
    )
    assert (done.returncode, (tmp_path / 'done').exists()) == (0, True)
    assert done.stdout + done.stderr == {'>&-': b'b\n', '2>&-': b'a\n'}.get(closed, b'')


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (OSError(28, 'No space left on device', '/x/scalars.json'), '/x/scalars.json: No space left on device'),
        (OSError(30, 'Read-only file system', b'/x/y'), '/x/y: Read-only file system'),
        (FileExistsError(17, 'File exists', '/x', None, '/y'), '/x -> /y: File exists'),
        (OSError(9, 'Bad file descriptor', 3), 'OSError: Bad file descriptor'),
        (OSError(24, 'Too many open files'), 'OSError: Too many open files'),
        (
            PermissionError(f"{IN_WORKER}PermissionError: [Errno 13] Permission denied: '/x'\n"),
            "[Errno 13] Permission denied: '/x'",
        ),
    ],
)
def test_what_the_system_refuses_is_a_line(capsys, monkeypatch, error, message):
    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        run_tool(main)
    assert ended.value.code == 2
    assert capsys.readouterr() == ('', f'error: {message} (--debug shows where)\n')
    monkeypatch.setattr(sys, 'argv', ['train.py', '--debug'])
    with pytest.raises(OSError):
        run_tool(main)


def test_an_oserror_that_is_no_answer_of_the_system_is_a_fault_of_the_program():
    def main():
        raise OSError('cannot identify')

    with pytest.raises(OSError, match='cannot identify'):
        run_tool(main)


# Arguments of each tool before an output -> the output is a folder; else a file.
OUTPUTS = {
    'analyze x --json': False,
    'benchmark --json': False,
    'browse x --out': False,
    'browse_pseudo_labels x --out': False,
    'convert_coco_deeplabv2 x': False,
    'convert_dinov2 x': False,
    'convert_efficientnet_lite lite0': False,
    'experiment x --work-dir': True,
    'make_splits files x --ratio 2 --out': True,
    'predict x y z': True,
    'report x --out': True,
    'test x --json': False,
    'test x --confusion': False,
    'test x --show-dir': True,
}


@pytest.mark.parametrize('command', OUTPUTS)
def test_outputs_that_cannot_be_written_are_refused_at_once(root, tmp_path, command):
    (tmp_path / 'file').write_text('')
    tool, *arguments = command.split()
    output = str(tmp_path / ('file' if OUTPUTS[command] else ''))
    started = [sys.executable, str(root / f'tools/{tool}.py'), *arguments, output]
    done = subprocess.run(started, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    what = 'cannot be a folder' if OUTPUTS[command] else 'must be a file'
    assert f'{output} {what}' in done.stderr.splitlines()[-1]


@pytest.mark.parametrize('arguments', [['predict', 'x', 'y', 'z'], ['test', 'x', '--out'], ['test', 'x', '--show-dir']])
def test_output_without_a_name(root, arguments):
    """Such as that of a shell variable that is not set."""
    started = [sys.executable, str(root / f'tools/{arguments[0]}.py'), *arguments[1:], '']
    done = subprocess.run(started, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith('is empty: it must be a path')


def test_all_outputs_of_tools_are_checked(root):
    """An argument with a name like those above has its type, or another test."""
    for tool in (root / 'tools').glob('*.py'):
        arguments = re.findall(
            r"add_argument\(\s*'(--out|--json|--confusion|--show-dir|out|output)',(.*?)help=",
            tool.read_text(),
            re.DOTALL,
        )
        for name, rest in arguments:
            assert 'type=output_' in rest, (tool, name)


def test_mistake_found_by_a_worker_of_a_data_loader(capsys):
    """torch puts its traceback before the message."""
    text = 'Caught UserError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File "x"\n'

    def main():
        raise UserError(f'{text}mmdmt.errors.UserError: x.png is damaged\n')

    with pytest.raises(SystemExit):
        run_tool(main)
    assert capsys.readouterr().err == 'error: x.png is damaged\n'


def test_code_in_files_needs_an_option(monkeypatch, tmp_path, capsys):
    """Also where a package of others loads them."""
    torch.save({'meta': argparse.Namespace()}, tmp_path / 'x.pth')

    def main():
        torch.load(tmp_path / 'x.pth', weights_only=False)

    monkeypatch.setattr(sys, 'argv', ['tool'])
    with pytest.raises(SystemExit) as ended:
        run_tool(main)
    assert ended.value.code == 2
    assert 'a file is refused: it names code to run (argparse.Namespace)' in capsys.readouterr().err
    monkeypatch.setattr(sys, 'argv', ['tool', '--allow-pickle'])
    run_tool(main)


def test_modules_of_the_current_folder(tmp_path, monkeypatch):
    """`custom_imports` of a config may name them; they replace no package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [place for place in sys.path if place])
    for name in ('module_of_this_test', 'colorsys'):
        (tmp_path / f'{name}.py').write_text("name = 'mine'\n")
        monkeypatch.delitem(sys.modules, name, raising=False)

    def main():
        assert import_module('module_of_this_test').name == 'mine'
        assert not hasattr(import_module('colorsys'), 'name')

    run_tool(main)


def test_option_of_python_against_modules_of_the_current_folder(monkeypatch):
    """`python -P`"""
    monkeypatch.setattr(sys, 'path', [place for place in sys.path if place])
    monkeypatch.setattr(sys, 'flags', SimpleNamespace(safe_path=True))
    run_tool(lambda: None)
    assert '' not in sys.path


@pytest.mark.parametrize('tool', ['analyze', 'test', 'train'])
@pytest.mark.parametrize(('argument', 'status'), [('--help', 0), ('--no-such-option', 2)])
def test_arguments_are_read_before_anything_that_takes_long_is_imported(root, tool, argument, status):
    path = str(root / f'tools/{tool}.py')
    code = f"""
import runpy, sys
sys.argv = [{path!r}, {argument!r}]
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
except SystemExit as ended:
    assert ended.code == {status}, ended.code
assert not {{'torch', 'numpy', 'mmengine', 'mmcv'}} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_options_are_read_as_mmengine_reads_them():
    parser, stock = argparse.ArgumentParser(), argparse.ArgumentParser()
    add_common_arguments(parser)
    stock.add_argument('--cfg-options', nargs='+', action=DictAction)
    pairs = ['--cfg-options', 'a.b=3', 'c=[1,(2,3)]', 'd=None', "e='x'"]
    assert parser.parse_args(pairs).cfg_options == stock.parse_args(pairs).cfg_options
    assert parser.parse_args([]).cfg_options == {}


@pytest.mark.parametrize(
    ('written', 'read'),
    [
        ('my data', 'my data'),
        ('my data (1)', 'my data (1)'),
        (' 3 ', 3),
        ("'my data'", 'my data'),
        ('[traffic light, car]', ['traffic light', 'car']),
        ('(traffic light ,car )', ('traffic light', 'car')),
        ('a copy (1), b', ['a copy (1)', 'b']),
        ('1, 2', [1, 2]),
        ('[(1, 2.5), [my data, None]]', [(1, 2.5), ['my data', None]]),
        ('( 1, 2 )', (1, 2)),
        ('[ my data ]', ['my data']),
        ("'[ my data ]'", ['my data']),
        ('[a,  b]', ['a', 'b']),
        ('my a=b data', 'my a=b data'),
        ('(draft ) data', '(draft ) data'),
        ("' 3 '", 3),
        ("'[my data, b]'", ['my data', 'b']),
        ("['my data', b]", ['my data', 'b']),
    ],
)
def test_blanks_of_names_are_kept(written, read):
    """mmengine drops them all: `my data` would be `mydata`, another folder."""
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    options = parser.parse_args(['--cfg-options', f'data_root={written}', 'b=1']).cfg_options
    assert options == {'data_root': read, 'b': 1}


@pytest.mark.parametrize('pair', ['a=dict(b=1,c=2)', 'a=(b c,[', 'a'])
def test_options_that_cannot_be_read_are_one_line(capsys, pair):
    """mmengine recurses without end into the first."""
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(['--cfg-options', pair])
    assert ended.value.code == 2
    message = f'error: --cfg-options: must be key=value pairs with numbers, texts, lists or tuples; got [{pair!r}]'
    assert capsys.readouterr().err.splitlines()[-1].endswith(message)


def test_output_that_nobody_reads_any_more(root):
    """As in ``tool | head -1``."""
    code = 'from mmdmt.command_line import run_tool; run_tool(lambda: [print(n) for n in range(10**5)] and None)'
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen([sys.executable, '-c', code], cwd=root, **pipes)
    assert process.stdout.readline() == '0\n'
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert [word for word in ('Traceback', 'BrokenPipe', 'ignored') if word in errors] == []
    assert process.wait() == CLOSED
