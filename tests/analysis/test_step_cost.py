import pytest
import torch
from torch import nn

from mmdmt.analysis.measuring import Meter
from mmdmt.analysis.step_cost import (
    PASSES,
    _operations,
    classification_figures,
    dmt_figures,
    method_figures,
    read_steps,
)

CPU = torch.device('cpu')


def test_every_method_has_a_row(root):
    folders = {path.stem for path in (root / 'mmdmt/methods').glob('*.py')} & {
        path.name for path in (root / 'configs').iterdir()
    }
    assert {name.split('/')[0] for name in PASSES} == {*folders, 'dmt'}
    assert all((root / 'configs' / name).is_file() for name in PASSES)


def test_operations_of_a_step_by_hand():
    layer, images = nn.Linear(3, 5), torch.randn(4, 3)
    forward = 2 * 4 * 3 * 5  # multiplications and additions
    assert _operations(lambda: layer(images)) == forward
    assert _operations(lambda: layer(images).sum().backward()) == 2 * forward  # no gradient of the images
    images.requires_grad_()
    assert _operations(lambda: torch.autograd.grad(layer(images).sum(), images)) == 2 * forward


@pytest.mark.parametrize(
    ('name', 'ratio'), [('dmt/fcn_digits.py', 2), ('fixmatch/digits.py', 7 / 3), ('mixmatch/digits_cls.py', 11 / 3)]
)
def test_operations_are_the_counted_passes(root, tmp_path, name, ratio):
    steps = read_steps(root / 'configs' / name, CPU, tmp_path, 2, 2)
    assert _operations(steps.own) / _operations(steps.labeled) == pytest.approx(ratio, rel=0.02)
    assert PASSES[name] / 3 == pytest.approx(ratio)


def test_a_step_of_the_whole_batch(root, tmp_path):
    steps = read_steps(root / 'configs/dmt/fcn_digits.py', CPU, tmp_path, 1, 3)
    assert _operations(steps.all) == 4 * _operations(steps.labeled) == _operations(steps.own)


def test_figures_of_methods(root, tmp_path):
    (figure,) = method_figures(root / 'configs', Meter(repeats=1), tmp_path, pixels=2, names=['mean_teacher/digits.py'])
    assert figure.work == 'step of mean_teacher/digits.py'
    assert figure.ratio > 1
    assert 'operations 2.3' in figure.note
    assert figure.note.endswith('passes 2.33')


def test_figures_of_dmt(root, tmp_path):
    (figure,) = dmt_figures(root / 'configs', Meter(repeats=1), tmp_path, {32: (1, 1)})
    assert figure.work == 'DMT step, FCN-R18, 2 images of 32'


def test_figures_of_classification(root, tmp_path):
    sizes = {8: (10, 1), 12: (10, 2)}
    figures = classification_figures(root / 'configs', Meter(repeats=1), tmp_path, 2, 2, sizes)
    named = ['DMT step with mixup, WRN-10-1, 4 images of 8', 'DMT step with mixup, WRN-10-2, 4 images of 12']
    assert [figure.work for figure in figures] == named
    assert all(figure.against == 'stock step with mixup' and figure.ratio > 0 for figure in figures)


def test_a_config_that_does_not_exist(root, tmp_path):
    with pytest.raises(ValueError, match=r'none\.py does not exist'):
        read_steps(root / 'configs/none.py', CPU, tmp_path, 1, 1)
