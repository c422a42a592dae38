import inspect

import pytest
from mmengine.config import Config

from mmdmt.checked import Checked
from mmdmt.cls.classification_task import ClassificationTask
from mmdmt.engine.task import TASKS, Task, task_of
from mmdmt.labels.stores import STORES
from mmdmt.seg.segmentation_task import SegmentationTask

SHOULD_HAVE = [name for name in {*vars(Task), *Task.__annotations__} if not name.startswith('_')]


@pytest.mark.parametrize(
    ('config', 'kind'),
    [
        ({}, SegmentationTask),
        ({'default_scope': 'mmseg'}, SegmentationTask),
        ({'default_scope': 'mmpretrain'}, ClassificationTask),
    ],
)
def test_task_follows_the_scope(config, kind):
    assert type(task_of(Config(config))) is kind


@pytest.mark.parametrize('scope', ['mmdet', None, ''])
def test_other_scope_is_refused(scope):
    with pytest.raises(ValueError, match=rf"^default_scope={scope!r} is not one of \('mmseg', 'mmpretrain'\)$"):
        task_of(Config({'default_scope': scope}))


@pytest.mark.parametrize('name', sorted(SHOULD_HAVE))
@pytest.mark.parametrize('scope', TASKS)
def test_tasks_have_what_a_run_asks_them_for(scope, name):
    own, wanted = getattr(task_of(Config({'default_scope': scope})), name), getattr(Task, name, None)
    if inspect.isfunction(wanted):
        assert list(inspect.signature(own).parameters) == list(inspect.signature(wanted).parameters)[1:]


@pytest.mark.parametrize('scope', TASKS)
def test_names_lead_to_what_is_there(scope):
    task = task_of(Config({'default_scope': scope}))
    assert task.store in STORES
    assert issubclass(task.label_writer_settings, Checked)
    assert {'mutual', 'self'} <= set(task.schemes)
    assert 'DynamicMutualLoss' in task.stock_types


def test_list_of_members_is_not_empty():
    assert {'metric', 'split', 'own_arguments', 'label_bytes'} <= set(SHOULD_HAVE)
