import time

from tests.analysis.conftest import label_maps, made_run
from tests.runs import printed, run

__all__ = ['label_maps', 'made_run']


def test_one_run(made_run, root):
    work_dir = made_run()
    done = run(root / 'tools/report.py', work_dir, '--no-pictures', '--oracle', 80)
    assert done.returncode == 0, done.stdout
    assert f'Report: {work_dir}/report.html' in done.stdout
    assert 'Oracle 80.00' in (work_dir / 'report.md').read_text()


def test_pictures_that_cannot_be_made_are_one_line(made_run, root):
    work_dir = made_run()
    (work_dir / 'config.py').write_text('dmt = 3\n')
    done = run(root / 'tools/report.py', work_dir)
    assert done.returncode == 0, done.stdout
    assert len([line for line in done.stdout.splitlines() if line.startswith('No pictures or label figures')]) == 1
    assert 'Traceback' not in done.stdout
    assert (work_dir / 'report.html').is_file()


def test_several(made_run, root, tmp_path):
    runs = [made_run('dmt_seed0'), made_run('dmt_seed1', seed=1)]
    done = run(root / 'tools/report.py', *runs, '--out', tmp_path / 'out')
    assert done.returncode == 0, done.stdout
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {
        f'comparison.{kind}' for kind in ('html', 'md', 'csv')
    }


def test_no_run(root, tmp_path):
    done = run(root / 'tools/report.py', tmp_path)
    assert done.returncode == 2
    assert printed(done) == [f'error: {tmp_path} holds no DMT run: it has neither dmt.json nor folders of phases']


def test_help_is_quick(root):
    start = time.perf_counter()
    done = run(root / 'tools/report.py', '--help')
    assert done.returncode == 0
    assert '--oracle' in done.stdout
    assert time.perf_counter() - start < 5  # 0.2 s on an idle machine: it must not import torch
