import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdmt.engine.settings import DMTSettings


def settings(tiny_config, options=None):
    return DMTSettings.from_config(tiny_config(Path('unused'), options))


def test_defaults_and_values(tiny_config):
    found = settings(tiny_config, {'dmt.split': dict(ratio=2, difference_maximised=0.9)})
    assert list(found.models) == ['a', 'b']
    assert (found.scheme, found.select, found.metric) == ('mutual', 'last', 'mIoU')
    assert found.label_ratios == (0.5, 1.0)
    assert (found.split.ratio, found.split.split_id, found.split.difference_maximised) == (2, 0, 0.9)
    assert [phase.name for phase in found.phases()][:4] == ['00_train_a', '00_train_b', '01_label_a', '01_train_b']


@pytest.mark.parametrize(
    'key', ['dmt', 'dmt.models.a', 'dmt.supervised', 'dmt.semi', 'dmt.split', 'dmt.models.b'], ids=str
)
def test_unknown_key_is_named(tiny_config, key):
    options = {f'{key}.typo': 3}
    if key == 'dmt.split':
        options['dmt.split.ratio'] = 2
    with pytest.raises(ValueError, match=rf'^{re.escape(key)} has unknown key\(s\) typo; allowed are '):
        settings(tiny_config, options)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'dmt.label_ratios': (0.5, 0.5)}, 'strictly increasing; got 0.5'),
        ({'dmt.label_ratios': (0.5, 0.2)}, 'strictly increasing; got 0.2'),
        ({'dmt.label_ratios': (0.0, 0.2)}, r'in \(0, 1\]; got 0.0'),
        ({'dmt.label_ratios': (0.5, 1.5)}, r'in \(0, 1\]; got 1.5'),
        ({'dmt.label_ratios': ()}, 'at least one ratio'),
        ({'dmt.scheme': 'self'}, r"'self' takes exactly 1 model name\(s\); got 2"),
        ({'dmt.scheme': 'chain'}, r"'chain' takes exactly 1 model name\(s\); got 2"),
        ({'dmt.models': dict(_delete_=True, a=dict())}, r"'mutual' takes exactly 2 model name\(s\); got 1"),
        ({'dmt.models.c': dict()}, r"'mutual' takes exactly 2 model name\(s\); got 3"),
        ({'dmt.models': dict(_delete_=True)}, r'dmt\.models is missing or empty'),
        ({'dmt.scheme': 'other'}, "dmt.scheme must be one of 'mutual', 'self', 'chain' or 'single', got 'other'"),
        ({'dmt.supervised': dict(_delete_=True, epochs=None)}, r'dmt\.supervised has no length'),
        ({'dmt.semi.iters': None, 'dmt.semi.epochs': None}, r'dmt\.semi has no length'),
        ({'dmt.semi.min_iters': 9}, r'dmt\.semi: min_iters=9 belongs to `epochs`, but the length is iters='),
        (
            {'dmt.semi.iters': None, 'dmt.semi.epochs': 1, 'dmt.semi.min_iters': 9, 'dmt.models.a.semi': dict(iters=3)},
            r'dmt\.semi \(merged with dmt\.models\.a\): min_iters=9 .* iters=3',
        ),
        ({'dmt.supervised.iters': 0}, r'dmt\.supervised\.iters must be above 0, got 0'),
        ({'dmt.supervised.iters': 2.5}, r'dmt\.supervised\.iters must be a whole number, got 2\.5'),
        ({'dmt.supervised.iters': True}, r'dmt\.supervised\.iters must be a whole number, got True'),
        ({'dmt.semi.epochs': -1}, r'dmt\.semi\.epochs must be above 0, got -1'),
        ({'dmt.semi.epochs': '4'}, r"dmt\.semi\.epochs must be a number, got '4'"),
        ({'dmt.semi.labeled_per_batch': 0}, r'dmt\.semi\.labeled_per_batch must be above 0, got 0'),
        ({'dmt.semi.unlabeled_per_batch': None}, r'unlabeled_per_batch must be a whole number, got None'),
        ({'dmt.select': 'first'}, "dmt.select must be one of 'last', 'val' or 'holdout', got 'first'"),
        (
            {'dmt.scheme': 'single', 'dmt.models': dict(_delete_=True, a=dict())},
            r"'single' ranks no labels: it takes no label_ratios; got \[0.5, 1.0\]",
        ),
        (
            {
                'dmt.scheme': 'single',
                'dmt.models': dict(_delete_=True, a=dict(supervised_checkpoint='a.pth')),
                'dmt.label_ratios': (),
                'dmt.supervised': dict(_delete_=True),
            },
            r'dmt\.models\.a\.supervised_checkpoint replaces a first phase, which this run does not have',
        ),
        ({'dmt.label_writer': dict(half='yes')}, r"dmt\.label_writer\.half must be True or False, got 'yes'"),
        ({'dmt.label_writer': dict(rank_stride=0)}, r'dmt\.label_writer\.rank_stride must be above 0, got 0'),
        ({'dmt.label_writer': dict(stride=2)}, r'dmt\.label_writer has unknown key.* stride; allowed are arch'),
        ({'dmt.label_writer': 16}, r'dmt\.label_writer must be a dict, got 16'),
        ({'dmt.reinitialise': 'no'}, r"dmt\.reinitialise must be True or False, got 'no'"),
        ({'dmt.keep_labels': 1}, r'dmt\.keep_labels must be True or False, got 1'),
        ({'dmt.metric': 3}, r'dmt\.metric must be a string, got 3'),
        ({'dmt.label_ratios': 0.5}, r'dmt\.label_ratios must be a list, got 0\.5'),
        ({'dmt.label_ratios': (0.5, True)}, r'dmt\.label_ratios\.1 must be a number, got True'),
        ({'dmt.label_ratios': ('0.5', 1)}, r"dmt\.label_ratios\.0 must be a number, got '0\.5'"),
        ({'dmt.semi.optim_wrapper': 'SGD'}, r"dmt\.semi\.optim_wrapper must be a dict, got 'SGD'"),
        ({'dmt.semi.param_scheduler': 3}, r'dmt\.semi\.param_scheduler must be a dict or a list, got 3'),
        ({'dmt.models.a.load_from': 3}, r'dmt\.models\.a\.load_from must be a string, got 3'),
        ({'dmt.models.b.find_unused_parameters': 'no'}, r"b\.find_unused_parameters must be True or False, got 'no'"),
        ({'dmt.split': dict(ratio='20')}, r"dmt\.split\.ratio must be a number, got '20'"),
        ({'dmt.split': dict(ratio=True)}, r'dmt\.split\.ratio must be a number, got True'),
        ({'dmt.split': dict(ratio=0.5)}, r'dmt\.split\.ratio must be at least 1, got 0\.5'),
        ({'dmt.split': dict(ratio=2, split_id=-1)}, r'dmt\.split\.split_id must be at least 0, got -1'),
        ({'dmt.split': dict(ratio=2, difference_maximised=2)}, r'difference_maximised must be at most 1, got 2'),
        ({'dmt.models.a': 3}, r'dmt\.models\.a must be a dict, got 3'),
        ({'dmt.split.seed': 1}, r'dmt\.split\.ratio is missing'),
        (
            {'dmt.split': dict(ratio=2, difference_maximised=0.9), 'dmt.scheme': 'self',
             'dmt.models': dict(_delete_=True, a=dict())},
            r'difference_maximised needs exactly two models, got 1',
        ),
    ],
)  # fmt: skip
def test_bad_value_is_refused(tiny_config, options, message):
    with pytest.raises(ValueError, match=message):
        settings(tiny_config, options)


def test_config_without_dmt(tiny_config):
    cfg = tiny_config(Path('unused'))
    cfg.pop('dmt')
    with pytest.raises(ValueError, match='no `dmt` dict'):
        DMTSettings.from_config(cfg)


def test_config_is_not_changed(tiny_config):
    cfg = tiny_config(Path('unused'), {'dmt.split': dict(ratio=2)})
    before = cfg.to_dict()
    DMTSettings.from_config(cfg)
    assert cfg.to_dict() == before


# Classification


@pytest.fixture
def classification(root):
    def make(options=None):
        cfg = Config.fromfile(root / 'configs/dmt/wrn10-1_digits.py')
        cfg.merge_from_dict(options or {})
        return DMTSettings.from_config(cfg)

    return make


def test_defaults_follow_the_task(tiny_config, classification):
    found = settings(tiny_config), classification({'dmt.ranking': 'all'})
    assert [item.metric for item in found] == ['mIoU', 'accuracy/top1']
    assert [item.ranking for item in found] == ['class', 'all']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'dmt.ranking': 'image'}, r"dmt\.ranking='image' is not one of \('all', 'class'\)"),
        ({'dmt.split': dict(_delete_=True, split_id=1)}, r'dmt\.split\.num_labeled is missing'),
        ({'dmt.label_writer': dict(rank_stride=16)}, r'unknown key\(s\) rank_stride; allowed are none'),
        ({'dmt.split.ratio': 8}, r'dmt\.split has unknown key\(s\) ratio; allowed are .*num_labeled'),
        ({'default_scope': 'mmdet'}, r"default_scope='mmdet' is not one of \('mmseg', 'mmpretrain'\)"),
    ],
)
def test_bad_value_of_classification_is_named(classification, options, message):
    with pytest.raises(ValueError, match=message):
        classification(options)


def test_segmentation_ranks_by_class_only(tiny_config):
    with pytest.raises(ValueError, match=r"dmt\.ranking='all' is not one of \('class',\)"):
        settings(tiny_config, {'dmt.ranking': 'all'})


def test_reinitialise(classification):
    found = classification({'dmt.scheme': 'self', 'dmt.reinitialise': True, 'dmt.label_ratios': (1.0,)})
    assert [phase.init for phase in found.phases()] == [None, '00_train_a', None]


def test_single_works_without_baseline_and_label_pipeline(tiny_config):
    options = {
        'dmt.scheme': 'single',
        'dmt.models': dict(_delete_=True, a=dict()),
        'dmt.supervised': dict(_delete_=True),
        'dmt.label_pipeline': [],
        'dmt.label_ratios': (),
    }
    found = settings(tiny_config, options)
    assert [phase.name for phase in found.phases()] == ['01_train_a']
    assert found.phases()[0].init is None
    with pytest.raises(ValueError, match=r'dmt\.label_pipeline is missing or empty'):
        settings(tiny_config, {**options, 'dmt.scheme': 'self', 'dmt.label_ratios': (1.0,)})
