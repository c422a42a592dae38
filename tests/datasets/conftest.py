import pytest
from mmengine.registry import DefaultScope

import mmdmt.seg  # noqa: F401  (registers datasets, samplers and transforms)


@pytest.fixture(autouse=True)
def mmseg_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield
