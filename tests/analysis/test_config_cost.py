import pytest

from mmdmt.analysis.config_cost import config_figures
from mmdmt.analysis.measuring import Meter


@pytest.mark.parametrize(
    ('config', 'images'),
    [
        ('dmt/fcn_digits.py', '2+14 images of 64x64'),
        ('fixmatch/digits.py', '2+14 images of 64x64'),
        ('cross_pseudo/digits_cls.py', '16+48 images of 8x8'),
    ],
)
def test_cost_of_a_step(root, config, images):
    (figure,) = config_figures(root / 'configs', Meter('cpu', 1), [config])
    assert figure.work == f'step of {config}, {images}'
    assert figure.ratio > 0
    assert figure.note.count(' ms') == 3
    assert 'MiB' not in figure.note  # memory of a CPU is that of the whole process
