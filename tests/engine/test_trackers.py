import logging
import sys

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.visualization.vis_backend import BaseVisBackend

from mmdmt.engine import DMTRunner, trackers
from mmdmt.engine.trackers import Tracker, keep_local, trackers_of
from mmdmt.errors import UserError
from tests.steps import SELF_TAUGHT

PICTURE = np.full((4, 6, 3), 9, np.uint8)


class Recorder(BaseVisBackend):
    """Records what it is told."""

    def __init__(self, save_dir, calls, broken=False):
        super().__init__(save_dir)
        self.calls, self.broken = calls, broken
        calls.append(('start', save_dir))

    def _init_env(self):
        pass

    @property
    def experiment(self):
        return self

    def add_config(self, config, **_):
        self.calls.append(('config', sorted(config)))

    def add_scalars(self, scalar_dict, step=0, file_path=None, **_):
        if self.broken:
            raise ConnectionError('no\nroute')
        self.calls.append((step, scalar_dict))

    def add_image(self, name, image, step=0, **_):
        self.calls.append((step, name, image.shape))

    def close(self):
        self.calls.append('close')


CALLS = []


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    """Calls of ``Recorder``; a config cannot hold the list, since configs are copied."""
    CALLS.clear()
    monkeypatch.setitem(VISBACKENDS.module_dict, 'Recorder', lambda save_dir, **args: Recorder(save_dir, CALLS, **args))
    return CALLS


@pytest.fixture
def make(tmp_path):
    """``make(backend config)``: the trackers of a run."""

    def start(**backend):
        cfg = Config(
            dict(work_dir=str(tmp_path), visualizer=dict(vis_backends=[dict(type='LocalVisBackend'), backend]))
        )
        return Tracker(cfg, tmp_path, logging.getLogger('test'))

    return start


def test_a_run_goes_on_when_it_is_resumed(make, calls, tmp_path):
    for step in (3, 7):
        tracker = make(type='Recorder')
        tracker.scalars({'a/train/loss': np.float64(0.5), 'a/val/confusion': [1, 2]}, step)
        tracker.picture('a/label/x', PICTURE, step)
        tracker.close()
        tracker.scalars({'a/train/loss': 1.0}, 9)  # closed
    start = ('start', str(tmp_path / 'recorder'))
    assert calls == [
        start,
        ('config', ['visualizer', 'work_dir']),
        (3, {'a/train/loss': 0.5}),
        (3, 'a/label/x', (4, 6, 3)),
        'close',
        start,
        (7, {'a/train/loss': 0.5}),
        (7, 'a/label/x', (4, 6, 3)),
        'close',
    ]


def test_tracker_that_fails_later_is_left_out(make, calls, caplog):
    tracker = make(type='Recorder', broken=True)
    tracker.scalars({}, 1)
    tracker.scalars({}, 2)
    assert [record.getMessage() for record in caplog.records] == [
        'visualizer.vis_backends: Recorder gets no more figures, since it failed: ConnectionError: no'
    ]


def test_tracker_that_does_not_start(make, monkeypatch):
    def fail(save_dir):
        raise RuntimeError('not logged in')

    monkeypatch.setitem(VISBACKENDS.module_dict, 'Recorder', fail)
    with pytest.raises(UserError, match=r'vis_backends: Recorder does not start: .*not logged in'):
        make(type='Recorder')


@pytest.mark.parametrize(
    ('backend', 'message'),
    [
        ('WandbVisBackend', 'WandbVisBackend needs the package wandb, which is not installed: pip install wandb'),
        ('MLflowVisBackend', 'needs the package mlflow'),
        ('TensorboardVisBackend', 'needs the package tensorboard'),
        ('tensorboard', "'tensorboard' is not one of AimVisBackend, "),
    ],
)
def test_what_is_missing_is_found_first(tiny_config, tmp_path, monkeypatch, backend, message):
    monkeypatch.setattr(trackers, 'find_spec', lambda name: None)
    runner = DMTRunner(tiny_config(tmp_path / 'run', {'visualizer.vis_backends.0.type': backend}))
    for operation in (runner.dry_run, runner.train):
        with pytest.raises(UserError, match=f'visualizer.vis_backends: .*{message}'):
            operation()
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('backends', [dict(type='Recorder'), [dict(type='Recorder')], [], None])
def test_phases_keep_the_local_backend_only(backends):
    config = dict(visualizer=dict(type='SegLocalVisualizer', vis_backends=backends))
    keep_local(config)
    assert config == dict(visualizer=dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]))


def test_options_of_the_local_backend_stay():
    local = dict(type='LocalVisBackend', img_save_dir='x')
    config = dict(visualizer=dict(vis_backends=[local, dict(type='Recorder')]))
    keep_local(config)
    assert config['visualizer']['vis_backends'] == [local]
    assert trackers_of(config) == {}
    none = {}
    keep_local(none)
    assert none == {}


def test_whole_plan_is_one_run(tiny_config, tmp_path, calls):
    """00_train_a, 01_label_a and 01_train_a: 4 steps, 6 images, 4 steps."""
    options = {**SELF_TAUGHT, 'visualizer.vis_backends.0.type': 'Recorder', 'dmt.report': True}
    runner = DMTRunner(tiny_config(tmp_path / 'run', options))
    runner.train()
    assert [call for call in calls if call[0] == 'start'] == [('start', str(tmp_path / 'run/recorder'))]
    assert calls[-1] == 'close'
    scalars = [(step, figures) for step, figures in (call for call in calls if isinstance(call[1], dict))]
    by_tag = {}
    for step, figures in scalars:
        for tag in figures:
            by_tag.setdefault(tag, []).append(step)
    assert by_tag['a/train/loss'] == [2, 4, 6, 8]
    assert by_tag['a/train/mean_weight'] == [6, 8]  # a baseline has none
    assert by_tag['a/val/mIoU'] == [4, 8]
    assert by_tag['a/label/coverage'] == [4]
    record = runner.manifest.record('01_train_a')
    assert dict(scalars)[8]['a/val/mIoU'] == pytest.approx(record['metrics']['mIoU'])
    sent = [call for call in calls if isinstance(call, tuple) and len(call) == 3]
    pictures = {(step, tag.rpartition('/')[0]) for step, tag, _ in sent}
    assert pictures == {(4, 'a/prediction'), (8, 'a/prediction'), (8, 'a/label'), (8, 'a/weight')}
    assert list((tmp_path / 'run/00_train_a').glob('*/vis_data/scalars.json'))  # what the report reads


def test_tensorboard(make, tmp_path):
    """Two attempts are read as one run."""
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for step in (3, 7):
        tracker = make(type='TensorboardVisBackend')
        tracker.scalars({'a/train/loss': 1 / step}, step)
        tracker.picture('a/label/x', PICTURE, step)
        tracker.close()
    events = EventAccumulator(str(tmp_path / 'tensorboard'), size_guidance=dict(images=0))
    events.Reload()
    assert [(event.step, round(event.value, 4)) for event in events.Scalars('a/train/loss')] == [
        (3, 0.3333),
        (7, 0.1429),
    ]
    assert [event.step for event in events.Images('a/label/x')] == [3, 7]
    assert events.Tags()['tensors'] == ['config/text_summary']


def test_mlflow(make, tmp_path, monkeypatch):
    mlflow = pytest.importorskip('mlflow')
    monkeypatch.delenv('MLFLOW_ALLOW_FILE_STORE', raising=False)
    for step in (3, 7):
        tracker = make(type='MLflowVisBackend')
        tracker.scalars({'a/train/loss': 1 / step}, step)
        tracker.picture('a/label/x', PICTURE, step)
        tracker.close()
    client = mlflow.MlflowClient((tmp_path / 'mlflow').as_uri())
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert run.info.run_name == tmp_path.name
    points = client.get_metric_history(run.info.run_id, 'a/train/loss')
    assert [(point.step, round(point.value, 4)) for point in points] == [(3, 0.3333), (7, 0.1429)]
    files = [path.name for path in (tmp_path / 'mlflow').rglob('artifacts/**/*') if path.is_file()]
    assert sorted(files) == ['config.py', 'x_3.png', 'x_7.png']


def test_wandb(make, tmp_path, monkeypatch):
    wandb = pytest.importorskip('wandb')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setattr(sys, 'argv', ['train.py'])
    ids = []
    for step in (3, 7):
        tracker = make(type='WandbVisBackend', init_kwargs=dict(project='p'))
        tracker.scalars({'a/train/loss': 1 / step}, step)
        tracker.picture('a/label/x', PICTURE, step)
        ids.append((wandb.run.id, wandb.run.name, dict(wandb.run.summary)['plan_step']))
        tracker.close()
    assert ids[0][0] == ids[1][0]
    assert [(name, step) for _, name, step in ids] == [(tmp_path.name, 3), (tmp_path.name, 7)]
    assert len(list((tmp_path / 'wandb').rglob('*.wandb'))) == 2
