import subprocess
import sys

import pytest

from mmdmt.errors import UserError
from tests.runs import printed, run
from tools import slurm_plan


@pytest.fixture
def parse(monkeypatch):
    def parse(*arguments):
        monkeypatch.setattr(sys, 'argv', ['slurm_plan.py', *arguments])
        return slurm_plan.parse_args()

    return parse


def test_options_for_sbatch(parse):
    args = parse('x.py', '--time', '1:00:00', '--partition=gpu', '--cfg-options', 'a=1', '--', '--nice', '--mem=9', 'b')
    assert args.options == ('--partition=gpu', '--time=1:00:00', '--nice', '--mem=9', 'b')
    assert (args.config, args.cfg_options, args.gpus, args.submit) == ('x.py', {'a': 1}, '1', False)


def test_unknown_option(parse, capsys):
    with pytest.raises(SystemExit):
        parse('x.py', '--nice')
    assert 'unrecognized arguments: --nice' in capsys.readouterr().err


def test_plan_is_printed_and_can_be_run(parse, tiny_config, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    config, work_dir = tmp_path / 'tiny.py', tmp_path / 'run'
    tiny_config(work_dir).dump(config)
    slurm_plan.main(parse(str(config), '--work-dir', str(work_dir), '--gpus', '2', '--accept-changes', '--mem=9'))
    printed = capsys.readouterr().out
    assert printed == (work_dir / 'slurm/plan.sh').read_text()
    assert 'submit 02_train_b 01_train_b 02_label_a\n' in printed
    assert '    --gres=gpu:2\n' in printed
    assert '    --mem=9\n)' in printed
    assert '    --accept-changes\n' in printed
    assert subprocess.run(['bash', '-n', work_dir / 'slurm/plan.sh'], check=False).returncode == 0
    assert (work_dir / 'slurm/config.py').is_file()


def test_complete_run(parse, tiny_config, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    cfg = tiny_config(tmp_path / 'run')
    cfg.dump(tmp_path / 'tiny.py')
    monkeypatch.setattr('mmdmt.engine.slurm.jobs', lambda manifest: [])
    slurm_plan.main(parse(str(tmp_path / 'tiny.py'), '--work-dir', cfg.work_dir, '--submit'))
    assert capsys.readouterr().out == f'All phases are complete, and the result is {tmp_path}/run/best.pth\n'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['baselines/oracle_fcn_digits.py'], 'the config has no runner_type'),
        (['dmt/fcn_digits.py', '--gpus', 'two'], '--gpus two: must be'),
        (['dmt/fcn_digits.py', '--launcher', 'pytorch'], '--launcher pytorch: srun starts the processes'),
        (['dmt/fcn_digits.py', '--', '--array=2'], '--array=2: the plan sets this option'),
    ],
)
def test_mistake(parse, root, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setenv('LOCAL_RANK', '0')
    path, *options = arguments
    with pytest.raises(UserError, match=f'^{message}'):
        slurm_plan.main(parse(str(root / 'configs' / path), '--work-dir', str(tmp_path / 'run'), *options))
    assert not (tmp_path / 'run').exists()


def test_mistake_is_one_line(root):
    done = run(root / 'tools/slurm_plan.py', 'missing.py', '--submit')
    assert (done.returncode, len(printed(done))) == (2, 1)
    assert printed(done)[0].startswith('error: config missing.py does not exist')
