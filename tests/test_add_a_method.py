"""docs/add_a_method.md, executed as the reader would."""

import re
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdmt.engine import DMTRunner
from tests.conftest import TINY
from tests.runs import state_dict

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / 'docs/add_a_method.md').read_text()


@pytest.fixture
def cfg(tmp_path, monkeypatch):
    """The files of the page in the reader's folder, and the config there."""
    for name, text in re.findall(r'```python\n# (\S+)\n(.*?)```', PAGE, re.DOTALL):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile('pi_digits.py')
    cfg.merge_from_dict({key: value for key, value in TINY.items() if key not in ('dmt.label_ratios', 'dmt.models.b')})
    cfg.work_dir = str(tmp_path / 'run')
    yield cfg
    for name in [name for name in sys.modules if name.split('.')[0] == 'my_methods']:
        del sys.modules[name]
    from mmengine.registry import MODELS

    MODELS._module_dict.pop('PiModel')


def test_the_method_of_the_page_trains(cfg, tmp_path):
    assert (cfg.model.type, cfg.model.weight) == ('PiModel', 5.0)
    cfg.dmt.rehearse = True
    runner = DMTRunner(cfg)
    runner.train()
    assert [phase.name for phase in runner.manifest.phases] == ['00_train_a', '01_train_a']
    weights = state_dict(tmp_path / 'run/best.pth')
    assert 'decode_head.conv_seg.weight' in weights
    assert runner.test()['mIoU'] >= 0


def test_its_mistakes_are_named(cfg):
    cfg.model.weight = -1.0
    with pytest.raises(ValueError, match=r'cannot be built: PiModel: weight=-1.0 must be at least 0'):
        DMTRunner(cfg).dry_run()


def test_a_view_with_another_name(cfg):
    views = cfg.dmt.unlabeled.pipeline[-1]
    views.third = views.pop('second')
    with pytest.raises(
        ValueError, match=r'PiModel needs the view\(s\) second; the pipelines give labeled, first, third'
    ):
        DMTRunner(cfg).dry_run()


def test_the_method_is_as_short_as_the_page_says():
    (method,) = re.findall(r'```python\n# my_methods/pi_model.py\n(.*?)```', PAGE, re.DOTALL)
    assert len([line for line in method.splitlines() if line.strip()]) <= 22
