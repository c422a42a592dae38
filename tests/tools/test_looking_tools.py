"""The tools that show something: each runs on a real run, answers --help at once, and names a mistake in one line."""

import subprocess
import sys

import pytest

from mmdmt.engine.cli import write_config
from mmdmt.errors import MissingFileError
from tests.analysis.conftest import reported_run
from tests.runs import printed, run
from tools import test as test_tool

__all__ = ['reported_run']


@pytest.mark.parametrize('tool', ['analyze', 'browse', 'browse_pseudo_labels', 'doctor', 'predict', 'report', 'test'])
def test_help_needs_no_torch(root, tool):
    code = f"""
import runpy, sys
sys.argv = ['{tool}.py', '--help']
try:
    runpy.run_path('{root}/tools/{tool}.py', run_name='__main__')
finally:
    assert not {{'torch', 'mmengine', 'mmseg', 'matplotlib'}} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '--debug' in done.stdout


def test_browse(reported_run, root, tmp_path):
    """Of a work dir, the page lies in it."""
    done = run(root / 'tools/browse.py', reported_run, '--number', 4)
    assert done.returncode == 0, done.stdout
    assert f'Training samples of 01_train_a: {reported_run}/browse.html' in done.stdout
    assert (reported_run / 'browse.html').read_text().count('data:image/png') == 12
    (reported_run / 'browse.html').unlink()


def test_browse_pseudo_labels(reported_run, root, tmp_path):
    done = run(root / 'tools/browse_pseudo_labels.py', reported_run, '--worst', 3, '--out', tmp_path / 'b.html')
    assert done.returncode == 0, done.stdout
    assert f'3 of 6 images, worst first. {tmp_path}/b.html' in done.stdout
    assert (tmp_path / 'b.html').is_file()
    done = run(root / 'tools/browse_pseudo_labels.py', reported_run, '--phase', 'x')
    assert done.returncode == 2
    assert "error: --phase 'x' is not one of 01_label_a" in printed(done)


def test_result_of_a_run_that_is_not_complete(tiny_config, tmp_path, monkeypatch):
    write_config(tiny_config(tmp_path), tmp_path)
    monkeypatch.setattr(sys, 'argv', ['test.py', str(tmp_path)])
    with pytest.raises(MissingFileError, match=r'best\.pth does not exist$'):
        test_tool.main(test_tool.parse_args())
    (tmp_path / 'dmt.json').write_text('{}')
    with pytest.raises(
        MissingFileError, match=r'not exist: the run is not complete; tools/train\.py --resume continues it'
    ):
        test_tool.main(test_tool.parse_args())


def test_predict_and_test(reported_run, root, tmp_path, write_image):
    import numpy as np

    write_image(tmp_path / 'images/a/x.png', np.zeros((20, 30, 3), np.uint8))
    best = reported_run / 'best.pth'
    for config in (reported_run, reported_run / 'best.py'):
        out = tmp_path / config.name
        done = run(root / 'tools/predict.py', config, best, tmp_path / 'images', out)
        assert done.returncode == 0, done.stdout
        assert f'1 images predicted: {out}' in done.stdout
    first, second = ((tmp_path / name / 'masks/a/x.png').read_bytes() for name in (reported_run.name, 'best.py'))
    assert first == second
    done = run(
        root / 'tools/test.py', reported_run, '--show-dir', tmp_path / 'shown', '--confusion', tmp_path / 'c.csv'
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert len(list((tmp_path / 'shown').rglob('*.png'))) == 4
    assert (tmp_path / 'c.csv').read_text().startswith('true class,background,digit 0')


def test_doctor(reported_run, root):
    done = run(root / 'tools/doctor.py', reported_run)
    assert done.returncode == 0, done.stdout
    assert '0 errors' in printed(done)[-1]
    done = run(root / 'tools/doctor.py', reported_run, '--cfg-options', 'dmt.label_ratios=(3,)')
    assert done.returncode == 1
    assert 'Traceback' not in done.stdout


def test_analyze_without_masks(reported_run, root, tmp_path):
    options = ['--cfg-options', 'dmt.unlabeled.data_prefix.seg_map_path=nowhere', '--json', tmp_path / 'a.json']
    done = run(root / 'tools/analyze.py', reported_run, *options)
    assert done.returncode == 0, done.stdout
    assert 'How many labels a phase uses' in done.stdout
    assert (tmp_path / 'a.json').is_file()
