import json
import sys
from pathlib import Path

import pytest

from mmdmt.engine import DMTRunner
from tests.runs import run
from tools import test as test_tool
from tools import train


@pytest.fixture
def parse(monkeypatch):
    def parse(*arguments):
        monkeypatch.setattr(sys, 'argv', ['train.py', *arguments])
        args = train.parse_args()
        return args.config, args.work_dir, args.resume

    return parse


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['x.py'], ('x.py', None, False)),
        (['x.py', '--resume'], ('x.py', None, True)),
        (['--resume', 'x.py'], ('x.py', None, True)),
        (['--resume', 'runs/x'], ('runs/x', None, True)),
        (['runs/x', '--resume'], ('runs/x', None, True)),
        (['x.py', '--resume', 'runs/x'], ('x.py', 'runs/x', True)),
        (['x.py', '--resume', '--work-dir', 'runs/x'], ('x.py', 'runs/x', True)),
    ],
)
def test_what_is_resumed(parse, arguments, expected):
    assert parse(*arguments) == expected


@pytest.mark.parametrize('arguments', [[], ['--resume'], ['--work-dir', 'x']])
def test_config_is_missing(parse, capsys, arguments):
    with pytest.raises(SystemExit):
        parse(*arguments)
    assert 'a config file, or --resume WORK_DIR, is needed' in capsys.readouterr().err


def test_work_dir_is_enough(tiny_config, tmp_path, root, monkeypatch):
    """A run with options is resumed, and its result is tested, by its work dir alone."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    config, work_dir = tmp_path / 'tiny.py', tmp_path / 'run'
    self_taught = {'dmt.scheme': 'self', 'dmt.models': dict(_delete_=True, a=dict()), 'dmt.label_ratios': (0.5,)}
    tiny_config(work_dir, self_taught).dump(config)
    options = ['--cfg-options', 'dmt.supervised.iters=3', 'model.decode_head.dropout_ratio=0.2']
    done = run(root / 'tools/train.py', config, '--resume', work_dir, '--phase', '00_train_a', *options)
    assert f'--resume: {work_dir} holds no run yet, so a new one starts' in done.stdout
    record = (work_dir / '00_train_a/phase.json').read_text()
    done = run(root / 'tools/train.py', '--resume', work_dir)
    assert done.returncode == 0, done.stdout
    assert (work_dir / '00_train_a/phase.json').read_text() == record
    done = run(root / 'tools/test.py', work_dir, '--json', tmp_path / 'metrics.json')
    assert done.returncode == 0, done.stdout
    recorded = json.loads((work_dir / '01_train_a/phase.json').read_text())['metrics']['mIoU']
    assert json.loads((tmp_path / 'metrics.json').read_text())['mIoU'] == recorded
    done = run(root / 'tools/train.py', '--resume', work_dir, '--cfg-options', 'dmt.supervised.iters=5')
    assert (done.returncode, 'train_cfg.iters: 3 -> 5' in done.stdout) == (2, True)


def test_checkpoint_of_a_work_dir_without_a_result(tmp_path, monkeypatch, tiny_config):
    monkeypatch.setenv('LOCAL_RANK', '0')
    runner = DMTRunner(tiny_config(tmp_path / 'run'))
    (tmp_path / 'run').mkdir()
    runner.cfg.dump(tmp_path / 'run/config.py')
    monkeypatch.setattr(sys, 'argv', ['test.py', str(tmp_path / 'run')])
    with pytest.raises(FileNotFoundError, match=str(Path('run/best.pth does not exist'))):
        test_tool.main(test_tool.parse_args())
