import pytest

from mmdmt.engine.phase_checks import check_label_pipeline, check_phase, hooks_with_monitor, too_many_workers
from mmdmt.errors import UserError

RIGHT = dict(
    log_level='WARNING',
    train_cfg=dict(val_interval=2, dynamic_intervals=[(0, 5), (8, 1)]),
    train_dataloader=dict(num_workers=2, prefetch_factor=4),
    val_dataloader=dict(num_workers=0),
    test_dataloader=None,
    custom_hooks=[dict(type='EMAHook', begin_iter=10), dict(type='EarlyStoppingHook', monitor='mIoU')],
)


def test_right():
    check_phase(RIGHT, 10, '00_train_a')
    check_phase({}, 0, '01_label_a')
    check_phase({'train_cfg': None, 'custom_hooks': None}, 1, 'x')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(log_level='LOUD'), r"^log_level='LOUD' must be one of CRITICAL,"),
        (dict(train_cfg=dict(val_interval=0)), r'^phase x: train_cfg: intervals .* above 0, got 0$'),
        (dict(train_cfg=dict(val_interval='10')), r"got '10'$"),
        (dict(train_cfg=dict(dynamic_intervals=[(0, 1), (5, 0)])), r'got 0$'),
        (
            dict(val_dataloader=dict(num_workers=-1)),
            r'^phase x: val_dataloader\.num_workers must .* got -1$',
        ),
        (dict(train_dataloader=dict(num_workers=True)), r'got True$'),
        (
            dict(train_dataloader=dict(num_workers=0, prefetch_factor=2)),
            r'factor=2 needs num_workers above 0$',
        ),
        (
            dict(custom_hooks=[{}, dict(type='EMAHook', begin_iter=11)]),
            r'10 steps, but .*\.1 \(EMAHook\) .* 11$',
        ),
        (dict(val_dataloader=None), r"custom_hooks\.1 \(EarlyStoppingHook\)\.monitor='mIoU' needs a val_dataloader"),
    ],
    ids=str,
)
def test_wrong(change, message):
    with pytest.raises(UserError, match=message):
        check_phase({**RIGHT, **change}, 10, 'x')


def test_a_label_phase_has_neither_loop_nor_hooks():
    check_phase(dict(RIGHT, train_cfg=dict(val_interval=0), val_dataloader=None), 0, 'x')
    with pytest.raises(UserError, match='test_dataloader'):
        check_phase(dict(test_dataloader=dict(num_workers=-1)), 0, 'x')


def test_monitored_metrics():
    assert [monitor for _, monitor in hooks_with_monitor(RIGHT)] == ['mIoU']


@pytest.mark.parametrize('name', ['RandomCrop', 'mmseg.RandomFlip', 'RandAugment', 'PhotoMetricDistortion'])
@pytest.mark.parametrize('inner', [False, True])
def test_random_transforms_of_images_to_label(name, inner):
    step = dict(type=name)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Wrapper', transforms=[step]) if inner else step]
    with pytest.raises(UserError, match=rf'^dmt\.label_pipeline: {name.split(".")[-1]} changes images at random'):
        check_label_pipeline(pipeline, 'dmt.label_pipeline')


def test_fixed_transforms_of_images_to_label():
    check_label_pipeline([dict(type='LoadImageFromFile'), dict(type='Resize'), dict(type='PackDMTInputs')], 'x')


def test_more_workers_than_processors(monkeypatch):
    monkeypatch.setattr('os.sched_getaffinity', lambda pid: {0, 1, 2})
    configs = [dict(train_dataloader=dict(num_workers=3), val_dataloader=None), dict(test_dataloader={})]
    assert list(too_many_workers(configs)) == []
    configs[1]['test_dataloader'] = dict(num_workers=4)
    assert list(too_many_workers(configs)) == ['num_workers=4 of a data loader, but 3 processors: fewer may be faster']
    assert list(too_many_workers([])) == []
