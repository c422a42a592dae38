"""One check at a time; that a run makes all of them before its first step is in test_run_data.py."""

import numpy as np
import pytest
import torch
from mmcv.transforms import RandomFlip
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from mmseg.datasets.transforms import PackSegInputs
from torch import nn

from mmdmt.datasets.views import Views
from mmdmt.engine.model_checks import (
    check_method,
    check_model,
    check_optimizer,
    check_schedule,
    check_served,
    check_supervised,
    check_views,
    check_weights,
    stock_network,
)
from mmdmt.errors import UserError
from mmdmt.losses import DynamicMutualLoss

KEY = 'dmt.models.a'


def needs_package(**_):
    raise RuntimeError('Please install the package')


@pytest.fixture
def model():
    return nn.Linear(2, 3)


@pytest.fixture
def save(tmp_path):
    """Write a checkpoint and return its path."""

    def save(content, name='given.pth'):
        torch.save(content, tmp_path / name)
        return str(tmp_path / name)

    return save


def test_model_is_built_and_its_config_stays():
    class Popping(nn.Module):
        def __init__(self, options):
            super().__init__()
            self.size = options.pop('size')

    config = dict(type=Popping, options=dict(size=3))
    assert check_model(config, KEY).size == 3
    assert config == dict(type=Popping, options=dict(size=3))


@pytest.mark.parametrize('kind', ['MaskFormerHead', 'Mask2FormerHead'])
@pytest.mark.parametrize('wrap', [lambda model: model, lambda model: dict(type='FixMatch', model=model)])
def test_a_head_of_masks_is_refused_for_what_it_is(kind, wrap):
    """Also without mmdet, where mmsegmentation's class is an empty shell."""
    model = wrap(dict(type='EncoderDecoder', backbone=dict(type='ResNet', depth=18), decode_head=dict(type=kind, x=1)))
    expected = f'cannot be built: its head {kind} is not built on BaseDecodeHead, so it gives no score for each class$'
    with DefaultScope.overwrite_default_scope('mmseg'), pytest.raises(UserError, match=expected):
        check_model(model, KEY)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type=nn.Linear, in_features=2), 'missing 1 required positional argument'),
        (dict(type='NoSuchModel'), 'NoSuchModel is not in the'),
        (dict(type=needs_package), 'Please install the package'),
        (dict(in_features=2), 'must contain the key "type"'),
        (dict(type=nn.Conv2d, in_channels=3, out_channels=4, kernel_size=3, groups=2), 'divisible by groups'),
        (None, 'should be a dict'),
    ],
    ids=['argument', 'name', 'package', 'type', 'value', 'none'],
)
def test_model_that_cannot_be_built(config, message):
    with pytest.raises(ValueError, match=rf'^dmt\.models\.a: the model cannot be built: .*{message}'):
        check_model(config, KEY)


@pytest.mark.parametrize(
    'schedulers',
    [
        None,
        [],
        dict(type='PolyLR'),
        dict(type='PolyLR', begin=9, end=99),
        [dict(type='LinearLR', begin=0, end=9), dict(type='PolyLR', begin=9)],
    ],
    ids=str,
)
def test_schedulers_that_begin_within_a_phase(schedulers):
    check_schedule(schedulers, 10, '00_train_a')


@pytest.mark.parametrize(
    ('schedulers', 'message'),
    [
        (dict(type='PolyLR', begin=10), r'param_scheduler\.0 \(PolyLR\) begins at step 10'),
        ([dict(type='LinearLR'), dict(type='PolyLR', begin=11)], r'param_scheduler\.1 \(PolyLR\) begins at step 11'),
        (dict(one=[], two=dict(type='PolyLR', begin=12)), r'param_scheduler\.0 \(PolyLR\) begins at step 12'),
    ],
)
def test_scheduler_that_begins_after_a_phase(schedulers, message):
    with pytest.raises(ValueError, match=f'^phase 00_train_a has 10 steps, but {message}: shorten the warm-up'):
        check_schedule(schedulers, 10, '00_train_a')


@pytest.mark.parametrize(
    ('scheduler', 'shown'),
    [
        (dict(type='MultiStepLR', milestones=[10, 90]), r'milestones=\[10, 90\]'),
        (dict(type='MultiStepLR', milestones=[6], begin=4), r'milestones=\[6\]'),
        (dict(type='StepLR', step_size=10), 'step_size=10'),
    ],
    ids=str,
)
def test_scheduler_whose_steps_are_all_after_a_phase(scheduler, shown):
    with pytest.raises(UserError, match=rf'^phase x has 10 steps, but param_scheduler\.0 \(\w+\) has {shown}, so it'):
        check_schedule(scheduler, 10, 'x')
    check_schedule(scheduler, 11, 'x')


def test_scheduler_that_ends_within_a_phase_and_cannot_go_on():
    check_schedule(dict(type='OneCycleLR', total_steps=10), 10, '00_train_a')
    with pytest.raises(
        ValueError, match=r'^phase x has 11 steps, but param_scheduler\.0 \(OneCycleLR\) has total_steps=10'
    ):
        check_schedule(dict(type='OneCycleLR', total_steps=10), 11, 'x')


class Method(nn.Module):
    """What the engine knows of a method: its views and which network predicts."""

    def __init__(self, views=('labeled', 'weak', 'strong')):
        super().__init__()
        self.views, self.predictor_prefix = views, 'teacher.'
        self.student, self.teacher = nn.Linear(2, 3), nn.Linear(2, 3)


@pytest.mark.parametrize('scheme', ['mutual', 'self', 'chain', 'single'])
def test_a_method_and_the_scheme_single_need_each_other(model, scheme):
    fitting, other = (Method(), model) if scheme == 'single' else (model, Method())
    check_method(fitting, KEY, scheme)
    message = 'needs a model that is a method.*got Linear' if scheme == 'single' else "set dmt.scheme='single', not "
    with pytest.raises(ValueError, match=rf'^dmt\.models\.a: .*{message}'):
        check_method(other, KEY, scheme)


def give(*names):
    """A transform that packs views of these names."""
    return [lambda info: {name: dict(inputs=0, data_samples=0) for name in names}]


LABELED = [dict(inputs=0, data_samples=0)]


class Images(list):
    """Images of a dataset."""

    def full_init(self):
        pass

    def get_data_info(self, idx):
        return dict(img_path=f'{idx}.png')


@pytest.mark.parametrize(
    ('pipeline', 'message'),
    [
        (give('weak'), r'Method needs the view\(s\) strong; the pipelines give labeled, weak: see dmt\.unlabeled'),
        (give('weak', 'strong', 'other'), r'^dmt\.unlabeled\.pipeline: Method does not use the view\(s\) other; '),
        (give('inputs', 'data_samples'), r'^dmt\.unlabeled\.pipeline must end with Views, which gives the views '),
        ([lambda info: info['img']], r"^dmt\.unlabeled\.pipeline: image .*: a transform fails: KeyError: 'img'"),
        ([Views(pack=dict(type=PackSegInputs), weak=[], strong=[dict(type=RandomFlip, prob=1.0)])],
         r"^dmt\.unlabeled\.pipeline: Views: view 'strong' moves pixels"),
    ],
)  # fmt: skip
def test_views_that_do_not_fit_the_method(pipeline, message):
    load = [lambda info: {**info, 'img': np.arange(24, dtype=np.uint8).reshape(2, 4, 3)}]
    with pytest.raises(ValueError, match=message):
        check_views(Method(), LABELED, Images('a'), (load if 'moves' in message else []) + pipeline)


def test_a_transform_that_needs_the_label_map_is_explained():
    load = [lambda info: {**info, 'img': np.zeros((8, 8, 3), np.uint8)}]
    crop = [dict(type='RandomCrop', crop_size=(4, 4), cat_max_ratio=0.75)]
    expected = (
        r"a transform fails: KeyError: 'gt_seg_map', which unlabeled images do not have \(RandomCrop needs it for"
    )
    with DefaultScope.overwrite_default_scope('mmseg'), pytest.raises(UserError, match=expected):
        check_views(Method(), LABELED, Images('a'), load + crop)


def test_views_that_fit_the_method():
    check_views(Method(), LABELED, Images('a'), give('weak', 'strong'))
    labeled = [{name: dict(inputs=0) for name in ('labeled', 'labeled_again')}]
    check_views(Method(('labeled', 'labeled_again', 'first')), labeled, Images('a'), give('first'))


def test_the_stock_network_of_a_method(model, save):
    method = Method()
    assert stock_network(method) is method.teacher
    assert stock_network(model) is model
    path = save(model.state_dict())
    check_weights(dict(load_from=path, model={}), KEY, '', method)
    check_supervised(path, KEY, method)
    with pytest.raises(ValueError, match='none of its 1 tensors fits'):
        check_weights(dict(load_from=save({'student.weight': torch.zeros(3, 2)}), model={}), KEY, '', method)


@pytest.mark.parametrize('wrapped', [True, False])
def test_weights_that_fit_in_part(model, save, wrapped):
    weights = {'weight': torch.zeros(3, 2), 'bias': torch.zeros(7), 'other': torch.zeros(1)}
    path = save(dict(state_dict=weights) if wrapped else weights)
    check_weights(dict(load_from=path, model={}), KEY, '', model)
    path = save(dict(state_dict=dict(weights, weight=torch.zeros(2, 3))) if wrapped else {'x': torch.zeros(1)})
    with pytest.raises(ValueError, match=r"^dmt\.models\.a\.load_from='.*given\.pth': none of its [13] tensors fits"):
        check_weights(dict(load_from=path), KEY, '', model)


def test_no_weights_are_named(model):
    config = dict(load_from=None, model=dict(pretrained=None, init_cfg=dict(type='Pretrained', checkpoint=''), x='y'))
    check_weights(config, KEY, '', model)


@pytest.mark.parametrize(
    'named',
    [
        dict(pretrained='no.pth'),
        dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='no.pth'))),
        dict(
            heads=[dict(type='A'), dict(init_cfg=[dict(type='Kaiming'), dict(type='Pretrained', checkpoint='no.pth')])]
        ),
    ],
    ids=['pretrained', 'init_cfg', 'in lists'],
)
def test_weights_of_a_part_are_looked_for(model, save, named):
    with pytest.raises(FileNotFoundError) as error:
        check_weights(dict(model=named), KEY, 'Get it.', model)
    assert str(error.value) == "dmt.models.a: initial weights 'no.pth' do not exist. Get it."


def test_weights_of_a_part_need_not_have_the_names_of_the_whole(model, save):
    check_weights(dict(model=dict(pretrained=save({'conv1.weight': torch.zeros(1)}))), KEY, '', model)


@pytest.mark.parametrize('source', ['http://127.0.0.1:9/no.pth', 'open-mmlab://no_such_weights'])
def test_weights_that_cannot_be_downloaded(model, source):
    with pytest.raises(FileNotFoundError) as error:
        check_weights(dict(model=dict(pretrained=source)), KEY, 'Get it.', model)
    for part in (f'{KEY}: initial weights {source!r} cannot be loaded', 'Get it. Without a network', 'torch/hub'):
        assert part in str(error.value)


@pytest.mark.parametrize('wrapped', [True, False])
def test_supervised_checkpoint_has_all_tensors(model, save, wrapped):
    weights = {'more': torch.zeros(1), **model.state_dict()}
    check_supervised(save(dict(state_dict=weights) if wrapped else weights), KEY, model)
    del weights['bias']
    weights['weight'] = torch.zeros(2, 2)
    message = (
        r"does not fit the model: 0 tensors fit, 1 are missing \('bias', ...\), 1 have other shapes \('weight', ...\)"
    )
    with pytest.raises(ValueError, match=rf"^{KEY}='.*given\.pth' {message}"):
        check_supervised(save(dict(state_dict=weights) if wrapped else weights), KEY, model)


def test_supervised_checkpoint_that_is_not_there(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.pth' cannot be loaded \(FileNotFoundError"):
        check_supervised(str(tmp_path / 'no.pth'), KEY, model)


@pytest.mark.parametrize('served', [0, 1])
def test_dynamic_loss_without_confidence(model, served):
    class EncoderDecoder(nn.Sequential):
        pass

    losses = [DynamicMutualLoss(), DynamicMutualLoss()]
    stock = EncoderDecoder(model, *losses)
    stock.served_losses = losses[:served]
    remedy = 'in decode_head, auxiliary_head or head only' if served else 'set model.type to DMTEncoderDecoder'
    message = f'{KEY}: EncoderDecoder does not pass the confidence .* {2 - served} of its 2 .*{remedy}'
    with pytest.raises(ValueError, match=message):
        check_served(stock, KEY)
    stock.served_losses = losses
    check_served(stock, KEY)
    check_served(model, KEY)


class Backbone(BaseModule):
    def __init__(self, **init):
        super().__init__(init_cfg=dict(type='Pretrained', **init))
        self.conv = nn.Conv2d(3, 2, 1)


class RenamingBackbone(Backbone):
    def init_weights(self):
        """Rename, load."""


def test_weights_of_a_part_of_which_nothing_fits(save):
    weights = {'backbone.conv.weight': torch.zeros(2, 3, 1, 1)}
    path = save(dict(state_dict=weights))
    config = dict(model=dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=path))))
    for whole in (Backbone(checkpoint=path, prefix='backbone'), Backbone(checkpoint=path, prefix='backbone.'),
                  RenamingBackbone(checkpoint=path)):  # fmt: skip
        check_weights(config, KEY, '', nn.ModuleDict(dict(backbone=whole)))
    with pytest.raises(ValueError, match=r"^dmt\.models\.a: initial weights '.*given\.pth' of backbone: none of its 1"):
        check_weights(config, KEY, '', nn.ModuleDict(dict(backbone=Backbone(checkpoint=path))))


@pytest.mark.parametrize('check', [check_supervised, lambda path, key, model: check_weights(
    dict(load_from=path), key, '', model)])  # fmt: skip
def test_weights_of_a_parallel_training(model, save, check):
    check(save({f'module.{name}': value for name, value in model.state_dict().items()}), KEY, model)


@pytest.mark.parametrize(
    'wrapper',
    [
        None,
        dict(optimizer=dict(type='SGD', lr=1, momentum=0.9)),
        dict(type='OptimWrapper', optimizer=dict(type=torch.optim.Adam, lr=1e-3, betas=(0.9, 0.99))),
        dict(constructor='Own', generator=dict(optimizer=dict(type='AdamW', lr=0.1))),
    ],
    ids=str,
)
def test_optimizers(wrapper):
    check_optimizer(wrapper, '00_train_a')


def test_optimizers_of_a_toolbox_are_known():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        check_optimizer(dict(optimizer=dict(type='Lamb', lr=0.005)), '00_train_a')
    with DefaultScope.overwrite_default_scope('mmseg'), pytest.raises(UserError, match="type='Lamb' is not a known"):
        check_optimizer(dict(optimizer=dict(type='Lamb', lr=0.005)), '00_train_a')


@pytest.mark.parametrize(
    ('optimizer', 'message'),
    [
        (dict(type='SDG', lr=0.1), r"type='SDG' is not a known optimizer"),
        (dict(type='SGD', lr='abc'), r"lr='abc' must be a number"),
        (dict(type='SGD', lr='1e-3'), r"lr='1e-3' must be a number"),
        (dict(type='SGD', lr=0.1, weight_decay=None), r'weight_decay=None must be a number'),
        (dict(type='SGD', lr=0.1, momentum=True), r'momentum=True must be a number'),
    ],
    ids=str,
)
@pytest.mark.parametrize('several', [False, True])
def test_wrong_optimizers(optimizer, message, several):
    wrapper = dict(optimizer=optimizer)
    with pytest.raises(ValueError, match=rf'^phase 01_train_a.*: optim_wrapper\.optimizer\.{message}$'):
        check_optimizer(dict(critic=wrapper) if several else wrapper, '01_train_a')


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_not_finite(model, save, value):
    weights = model.state_dict()
    weights['weight'][1, 1] = value
    path = save(weights)
    message = r"1 of 2 tensors that are not finite, e\.g\. 'weight'"
    with pytest.raises(ValueError, match=f"{KEY}='.*given.pth' has {message}"):
        check_supervised(path, KEY, model)
    with pytest.raises(ValueError, match=f"{KEY}: initial weights '.*given.pth' has {message}"):
        check_weights(dict(load_from=path), KEY, '', model)


def test_labeled_pipeline_that_fails():
    class Broken:
        def __getitem__(self, index):
            raise KeyError('img')

    with pytest.raises(ValueError, match=r'^dmt\.labeled\.pipeline fails on the first image'):
        check_views(Method(), Broken(), Images('a'), give('weak', 'strong'))
