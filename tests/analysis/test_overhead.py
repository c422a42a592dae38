import time

import pytest
import torch

from mmdmt.analysis import overhead
from mmdmt.analysis.measuring import Meter

METER, SIZE, CLASSES = Meter(repeats=1), (24, 40), 3
TINY = {'dmt.scheme': 'self', 'dmt.models': dict(_delete_=True, a=dict()), 'dmt.label_ratios': (0.5,),
        'dmt.labeled.indices': 4, 'dmt.unlabeled.indices': 4, 'val_dataloader.dataset.indices': 2,
        'dmt.supervised.iters': 2,
        'dmt.semi': dict(_delete_=True, iters=2, labeled_per_batch=1, unlabeled_per_batch=1)}  # fmt: skip


def test_loss():
    figures = overhead.loss_figures(METER, [(2, 3, 32, 32)])
    assert figures[0].work == 'DynamicMutualLoss, forward and backward, [2, 3, 32, 32]'
    assert all(figure.against == 'F.cross_entropy' and figure.ratio >= 0 for figure in figures)


def test_labeling(root, tmp_path):
    whole, *parts = overhead.labeling_figures(root / 'configs', METER, tmp_path, SIZE, CLASSES)
    assert whole.work == 'prediction and writing of labels, 40 x 24, 3 classes'
    assert [part.work.split()[0] for part in parts] == ['encode', 'count', 'write']
    assert [path.name for path in sorted((tmp_path / 'labels/labels').iterdir())] == ['000000_image.png']


def test_simulated_logits_are_smooth():
    logits = overhead.simulated_logits((64, 80), 5)
    assert logits.shape == (1, 5, 64, 80)
    assert torch.equal(logits, overhead.simulated_logits((64, 80), 5))
    assert logits.diff(dim=3).abs().mean() < logits.std() / 2
    areas = overhead.simulated_logits((128, 160), 5, smooth=True).argmax(1)
    assert 1 < len(areas.unique()) <= 5
    assert (areas.diff(dim=2) != 0).float().mean() < 0.05


def test_storage(tmp_path):
    figures = overhead.storage_figures(METER, tmp_path, SIZE, CLASSES)
    for kind, space, reading in (('noisy', *figures[:2]), ('smooth', *figures[2:])):
        assert (space.work, reading.work) == (f'bytes of a pixel, {kind} labels', f'reading {kind} labels of an image')
        files = [path for folder in ('labels', 'confidence') for path in (tmp_path / kind / folder).iterdir()]
        assert space.ratio == pytest.approx(sum(path.stat().st_size for path in files) / (8 * SIZE[0] * SIZE[1]))
        assert reading.against == 'its .npy of float32'


def test_ranking():
    figure = overhead.ranking_figure(METER, 10**6, CLASSES)
    assert figure.work == 'memory of ranking 1e+06 pixels'
    assert figure.note.endswith(' MiB')


@pytest.mark.slow
def test_run(root, tmp_path):
    figures = overhead.run_figures(root / 'configs', tmp_path / 'run', TINY)
    assert all(0 < figure.ratio < 1 for figure in figures)
    assert (tmp_path / 'run/best.pth').is_file()


@pytest.mark.slow
def test_growth(root, tmp_path):
    memory, files = overhead.growth_figures(root / 'configs', tmp_path / 'run', TINY)
    assert memory.work == 'memory after 3 phases'
    assert memory.note.count(',') == files.note.count(',') == 2
    assert 0.5 < memory.ratio < 2
    assert 0.5 < files.ratio < 2


def test_steps_of_a_loop_are_timed_and_the_loop_is_as_before():
    class Loop:
        def run_iter(self, milliseconds):
            end = time.process_time() + milliseconds / 1000
            while time.process_time() < end:
                pass

    before = Loop.run_iter
    with overhead._clock((Loop, 'run_iter')) as steps:
        Loop().run_iter(20)
        Loop().run_iter(5)
    assert steps == pytest.approx([0.02, 0.005], abs=0.005)
    assert Loop.run_iter is before


@pytest.mark.parametrize('fails', [False, True])
def test_directions(tmp_path, fails):
    """Of a tool that takes 0.2 seconds and notes its arguments."""
    tool = tmp_path / 'tool.py'
    tool.write_text(
        'import os, sys, time; from pathlib import Path\n'
        'folder, phase = Path(sys.argv[3]), sys.argv[5]; folder.mkdir(parents=True, exist_ok=True)\n'
        '(folder / phase).write_text(" ".join(sys.argv[6:] + [os.environ["OMP_NUM_THREADS"]])); time.sleep(0.2)\n'
        + 'sys.exit(1)'
        * fails
    )
    arguments = tool, tmp_path / 'config.py', tmp_path / 'runs', ['--dry']
    if fails:
        with pytest.raises(RuntimeError, match=r'tool\.py failed'):
            overhead.directions_figure(*arguments)
        return
    figure = overhead.directions_figure(*arguments)
    found = {str(path.relative_to(tmp_path / 'runs')): path.read_text() for path in (tmp_path / 'runs').rglob('00*')}
    assert found == {f'{run}/00_train_{model}': '--dry 1' for run in ('one', 'both') for model in 'ab'}
    assert 0.2 < figure.ratio < 1
