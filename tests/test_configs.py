import ast
import copy
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATA_SAMPLERS, DATASETS, MODELS, TRANSFORMS, DefaultScope

from mmdmt.config_dicts import dicts_in, stock_model
from mmdmt.engine.hooks import WholeBatchHook
from mmdmt.engine.phase_config import final_config
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.run_data import _pop_pipeline
from mmdmt.engine.settings import DMTSettings
from mmdmt.engine.task import task_of

ROOT = Path(__file__).parents[1] / 'configs'
BASES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / '_base_').rglob('*.py'))
PLANS = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'experiments').glob('*.py')}  # of tools/experiment.py
CONFIGS = sorted({path.relative_to(ROOT).as_posix() for path in ROOT.rglob('*.py')} - set(BASES) - PLANS)

# The settings of the paper: gamma1 = gamma2, ratio, lr and epochs of the baselines, lr and epochs of the phases with
# pseudo labels, labeled + unlabeled images a batch, classes.
PUBLISHED = {
    'dmt/deeplabv2_voc_1_8.py': (5, 8, (2e-3, 85), (1e-3, 5), (1, 7), 21),
    'dmt/deeplabv2_voc_1_20.py': (5, 20, (2e-3, 134), (1e-3, 4), (1, 7), 21),
    'dmt/deeplabv2_voc_1_50.py': (5, 50, (2e-3, 212), (1e-3, 4), (1, 7), 21),
    'dmt/deeplabv2_voc_1_106.py': (5, 105.82, (2e-3, 309), (1e-3, 4), (1, 7), 21),
    'dmt/deeplabv2_voc_1464.py': (5, None, (2e-3, 81), (1e-3, 5), (1, 7), 21),
    'dmt/deeplabv2_cityscapes_1_8.py': (3, 8, (4e-3, 170), (4e-3, 10), (2, 6), 19),
    'dmt/deeplabv2_cityscapes_1_30.py': (3, 29.75, (4e-3, 327), (4e-3, 8), (1, 7), 19),
}
CROP = {'voc': (321, 321), 'cityscapes': (256, 512)}
# Epochs of an oracle and the number of training images: baseline epochs are sqrt(images / labeled) * N.
ORACLE = {'voc': (30, 10582), 'cityscapes': (60, 2975)}
LABELED = {'1_8': (1322, 371), '1_20': (530,), '1_50': (211,), '1_106': (100,), '1464': (1464,), '1_30': (None, 100)}


# Classification: labels, epochs of the baseline, labeled + unlabeled images a batch. 49,800 images to train on.
CIFAR = {'4000': (4000, 1058, (64, 448)), '1000': (1000, 2120, (16, 496))}
METRICS = {'mmseg': 'mIoU', 'mmpretrain': 'accuracy/top1'}


def load(name):
    return Config.fromfile(ROOT / name)


def data_set(name):
    return 'voc' if 'voc' in name else 'cityscapes'


def bases(path):
    """Files that a config names in its `_base_`."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '_base_':
            value = ast.literal_eval(node.value)
            return [path.parent / base for base in ([value] if isinstance(value, str) else value)]
    return []


def levels(path):
    return max((1 + levels(base) for base in bases(path)), default=0)


def without_types_and_losses(model):
    """What a stock model and the one of DMT have in common."""
    head = {key: value for key, value in model['decode_head'].items() if key != 'loss_decode'}
    return {**{key: value for key, value in model.items() if key != 'type'}, 'decode_head': head}


def walk(node):
    """All keys and all values in a config."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            yield from walk(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from walk(value)
    else:
        yield node


def transforms(pipeline):
    return {transform['type']: transform for transform in pipeline}


@pytest.fixture
def build():
    """Build a model of a config, without memory for its weights and without loading any."""

    def build(cfg):
        # The largest ones need no memory there; backbones with stochastic depth cannot be built on it.
        kind = stock_model(cfg['model'])['backbone']['type']
        device = 'meta' if cfg['default_scope'] == 'mmseg' and 'ResNet' in kind else 'cpu'
        with DefaultScope.overwrite_default_scope(cfg['default_scope']), torch.device(device):
            return MODELS.build(cfg['model'])

    return build


def test_there_are_configs():
    assert CONFIGS
    assert set(PUBLISHED) <= set(CONFIGS)


@pytest.mark.parametrize('name', CONFIGS)
def test_inheritance_is_at_most_two_levels_deep(name):
    assert 1 <= levels(ROOT / name) <= 2


@pytest.mark.parametrize('name', BASES)
def test_bases_stand_alone_and_are_used(name):
    assert not bases(ROOT / name)
    assert any((ROOT / name).resolve() in [base.resolve() for base in bases(ROOT / config)] for config in CONFIGS)


# What no toolbox has: a network, data in memory or behind lists, sizes as the paper's.
OWN_TYPES = {
    'DeepLabV2Head', 'WideResNet', 'ChannelsLastHook', 'DigitScenesDataset', 'DigitsDataset', 'DMTCIFAR10',
    'ImageMaskDataset', 'SmallImageRandAugment', 'SetOriginalShape', 'ResizeLabels',
}  # fmt: skip


@pytest.mark.parametrize('name', [name for name in BASES if name.startswith(('_base_/models', '_base_/datasets'))])
def test_models_and_data_sets_are_stock(name):
    """Their types are those of the toolboxes, so that any method, and an ordinary run, can use them."""
    config = load(name).to_dict()
    scope = 'mmpretrain' if {'ClsDataPreprocessor', 'PackInputs'} & set(walk(config)) else 'mmseg'
    import_module({'mmseg': 'mmdmt.seg', 'mmpretrain': 'mmdmt.cls'}[scope])
    kinds = {node['type'] for node in dicts_in(config) if 'type' in node} - {'Pretrained', 'default_collate'}
    assert kinds
    for kind in kinds - OWN_TYPES:
        packages = set()
        for registry in (MODELS, DATASETS, TRANSFORMS, DATA_SAMPLERS):
            with registry.switch_scope_and_registry(scope) as own:
                packages.update([own.get(kind).__module__.split('.')[0]] if own.get(kind) else [])
        assert packages and packages <= {'mmseg', 'mmpretrain', 'mmcv', 'mmengine', 'torch'}, kind


@pytest.mark.parametrize('name', CONFIGS)
def test_nothing_is_left_unresolved(name):
    cfg = load(name)
    for leaf in walk(cfg.to_dict()):
        assert leaf != '_delete_'
        assert not isinstance(leaf, str) or not any(mark in leaf for mark in ('_base_.', '{{', '}}'))
    text = Config(cfg.to_dict(), format_python_code=False).pretty_text  # yapf takes seconds
    assert Config.fromstring(text, '.py').to_dict() == cfg.to_dict()


@pytest.mark.parametrize('name', CONFIGS)
def test_final_model_builds(name, build):
    cfg = load(name)
    model = build(cfg.to_dict())
    assert sum(parameter.numel() for parameter in model.parameters()) > 0


@pytest.mark.parametrize('name', CONFIGS)
def test_dmt_config(name, build):
    cfg = load(name)
    is_dmt = cfg.get('runner_type') == 'DMTRunner'
    assert is_dmt != name.startswith('baselines/')
    if not is_dmt:
        return
    settings = DMTSettings.from_config(cfg)
    single = settings.scheme == 'single'
    after_baseline = 1 if single else 2 * len(settings.label_ratios)
    assert len(settings.phases()) == len(settings.models) * (settings.has_baseline + after_baseline)
    assert settings.metric == METRICS[cfg.default_scope]
    for model in settings.models:
        own = RunPlan.of(cfg).configs[model][None]
        kinds = {type(module).__name__ for module in build(own).modules()}
        assert single or 'DynamicMutualLoss' in kinds
        stock = {type(module).__name__ for module in build(final_config(RunPlan.of(cfg), model).to_dict()).modules()}
        assert not {kind for kind in stock if kind.startswith(('DMT', 'Dynamic'))}
    labeled, unlabeled = (_pop_pipeline(copy.deepcopy(data)) for data in (settings.labeled, settings.unlabeled))
    assert {pipeline[-1]['type'] for pipeline in (labeled, settings.label_pipeline)} <= {'PackDMTInputs', 'Views'}
    assert unlabeled[-1]['type'] == ('Views' if single else 'PackDMTInputs')
    if cfg.default_scope == 'mmseg':
        assert 'LoadDMTAnnotations' in transforms(labeled)
        assert ('LoadDMTAnnotations' in transforms(unlabeled)) != single
        assert not {'LoadAnnotations', 'LoadDMTAnnotations'} & set(transforms(settings.label_pipeline))


METHODS = [name for name in CONFIGS if name.split('/')[0] not in ('dmt', 'baselines', 'ablations')]


@pytest.mark.parametrize('name', [*METHODS, *[name for name in CONFIGS if 'online-st' in name]])
def test_methods_wrap_a_stock_model(name):
    model = load(name).model.to_dict()
    assert model['model']['type'] in ('EncoderDecoder', 'ImageClassifier')
    assert not [key for key in walk(model['model']) if str(key).startswith(('DMT', 'Dynamic', 'mixup'))]


@pytest.mark.parametrize('name', [name for name in METHODS if bases(ROOT / name)[0].parent.name == 'dmt'])
def test_methods_learn_from_labels_as_dmt_does(name):
    """Model, weights of classes and divisor are those of the DMT config beside it; so is the loss, to rounding."""
    own, dmt = load(name).model.model, Config.fromfile(bases(ROOT / name)[0]).model
    parts = {'head': 'loss'} if 'head' in own else {'decode_head': 'loss_decode'}
    (head, loss) = next(iter(parts.items()))
    kept = [
        {**{key: value for key, value in model.items() if key not in ('type', 'mixup')},
         head: {key: value for key, value in model[head].items() if key != loss}}
        for model in (own.to_dict(), dmt.to_dict())
    ]  # fmt: skip
    assert kept[0] == kept[1]
    with DefaultScope.overwrite_default_scope('mmpretrain' if head == 'head' else 'mmseg'):
        losses = [MODELS.build(model[head][loss]) for model in (own, dmt)]
    generator = torch.Generator().manual_seed(0)
    shape = () if head == 'head' else (6, 7)
    classes = own[head].num_classes
    logits = torch.randn(4, classes, *shape, generator=generator)
    label = torch.randint(classes, (4, *shape), generator=generator)
    arguments = {} if head == 'head' else dict(ignore_index=255)
    if shape:
        label[:2, :3] = 255
    WholeBatchHook().before_train(SimpleNamespace(model=torch.nn.ModuleList(losses)))  # as in a train phase
    values = [own_loss(logits, label, **arguments).item() for own_loss in losses]
    assert values[0] == pytest.approx(values[1], rel=1e-6) and values[0] > 0.5


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_settings(name):
    gamma, ratio, supervised, semi, batch, classes = PUBLISHED[name]
    cfg = load(name)
    settings = DMTSettings.from_config(cfg)
    loss = cfg.model.decode_head.loss_decode
    assert (loss.gamma1, loss.gamma2, loss.get('variant', 'dmt')) == (gamma, gamma, 'dmt')
    assert (settings.split and settings.split.ratio) == ratio
    for phase in settings.phases():
        if phase.kind == 'train':
            stage, (lr, epochs) = ('semi', semi) if phase.labels else ('supervised', supervised)
            own = settings.stage(phase)
            assert (own['epochs'], own.get('iters')) == (epochs, None)
            assert RunPlan.of(cfg).configs[phase.model][stage]['optim_wrapper']['optimizer']['lr'] == lr
            assert (own.get('labeled_per_batch'), own.get('unlabeled_per_batch')) == (
                batch if phase.labels else (None, None)
            )
    assert cfg.train_dataloader.batch_size == sum(batch) == 8
    assert task_of(cfg).num_classes(cfg.model) == classes
    assert settings.label_ratios == (0.2, 0.4, 0.6, 0.8, 1.0)
    assert (settings.scheme, settings.select) == ('mutual', 'last')


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_baseline_epochs_follow_the_labels(name):
    is_voc = data_set(name) == 'voc'
    labeled = LABELED[name.removesuffix('.py').split(data_set(name) + '_')[1]][0 if is_voc else 1]
    epochs, images = ORACLE[data_set(name)]
    assert DMTSettings.from_config(load(name)).supervised['epochs'] == round((images / labeled) ** 0.5 * epochs)


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_training(name):
    cfg = load(name)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.momentum, optimizer.weight_decay) == ('SGD', 0.9, 5e-4)
    assert 'paramwise_cfg' not in cfg.optim_wrapper  # one learning rate for backbone and head
    (scheduler,) = cfg.param_scheduler
    assert (scheduler.type, scheduler.power, scheduler.eta_min) == ('PolyLR', 0.9, 0.0)
    crop = CROP[data_set(name)]
    assert tuple(cfg.model.data_preprocessor.size) == crop
    for data in (cfg.dmt.labeled, cfg.dmt.unlabeled):
        steps = transforms(data.pipeline)
        assert tuple(steps['RandomResize'].ratio_range) == (0.5, 1.5)
        assert tuple(steps['RandomCrop'].crop_size) == crop
        assert steps['RandomFlip'].prob == 0.5


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_models_start_apart(name):
    cfg = load(name)
    settings = DMTSettings.from_config(cfg)
    assert list(settings.models) == ['a', 'b']
    own = {model: RunPlan.of(cfg).configs[model][None] for model in 'ab'}
    same_weights = name.endswith(('1_106.py', '1_50.py'))
    for model, config in own.items():
        from_coco = model == 'a' or same_weights
        assert bool(config['load_from']) == from_coco
        assert (config['model']['backbone'].get('init_cfg') is None) == from_coco
        assert config['model']['backbone']['style'] == ('caffe' if from_coco else 'pytorch')
        assert config['model']['data_preprocessor']['bgr_to_rgb'] != from_coco
    assert (own['a']['model'] == own['b']['model']) == same_weights
    assert (settings.split and settings.split.difference_maximised) == (0.8 if same_weights else None)


def test_voc_1464_takes_the_masks_of_voc_and_the_images_of_sbd():
    settings = DMTSettings.from_config(load('dmt/deeplabv2_voc_1464.py'))
    assert settings.split is None
    assert settings.labeled['ann_file'] == 'ImageSets/Segmentation/train.txt'
    assert settings.labeled['data_prefix'] == {'img_path': 'JPEGImages', 'seg_map_path': 'SegmentationClass'}
    assert settings.unlabeled['ann_file'] == 'ImageSets/Segmentation/aug.txt'


@pytest.mark.parametrize('name', [name for name in PUBLISHED if 'cityscapes' in name])
def test_cityscapes_is_labeled_at_the_size_it_is_trained_at(name):
    settings = DMTSettings.from_config(load(name))
    for pipeline, order in (
        (settings.label_pipeline, ['LoadImageFromFile', 'Resize', 'SetOriginalShape', 'PackDMTInputs']),
        (settings.unlabeled['pipeline'], ['LoadImageFromFile', 'Resize', 'LoadDMTAnnotations', 'RandomResize']),
        (settings.labeled['pipeline'], ['LoadImageFromFile', 'LoadDMTAnnotations', 'RandomResize']),
    ):
        assert [transform['type'] for transform in pipeline][: len(order)] == order
        assert all(tuple(t['scale']) == (1024, 512) for t in pipeline if t['type'] in ('Resize', 'RandomResize'))


@pytest.mark.parametrize('name', [name for name in PUBLISHED if 'cityscapes' in name])
def test_cityscapes_is_evaluated_at_the_size_it_is_trained_at(name):
    for loader in (load(name).val_dataloader, load(name).test_dataloader):
        types = [transform['type'] for transform in loader.dataset.pipeline]
        assert types == ['LoadImageFromFile', 'Resize', 'SetOriginalShape', 'LoadAnnotations', 'ResizeLabels',
                         'PackSegInputs']  # fmt: skip
        assert tuple(loader.dataset.pipeline[1].scale) == (1024, 512)


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_models_by_hand(name):
    """Means of both initializations, order of the channels, and corners that coincide."""
    cfg = load(name)
    coco, imagenet = [104.008, 116.669, 122.675], [123.675, 116.28, 103.53]
    for model, configs in RunPlan.of(cfg).configs.items():
        own = configs['semi']['model']
        from_coco = model == 'a' or name.endswith(('1_106.py', '1_50.py'))
        preprocessor = own['data_preprocessor']
        assert preprocessor['mean'] == (coco if from_coco else imagenet)
        assert preprocessor['std'] == ([1.0, 1.0, 1.0] if from_coco else [58.395, 57.12, 57.375])
        assert preprocessor['bgr_to_rgb'] is not from_coco
        assert own['decode_head']['align_corners'] is True
        assert own['decode_head'].get('dilations', (6, 12, 18, 24)) == (6, 12, 18, 24)
        assert not own['backbone'].get('contract_dilation', False)


# What a pixel (10, 20, 30) of a loaded image, in its channel order, is for the model: the values that each weight file
# and data set want. Segmentation loads BGR, CIFAR-10 is RGB.
PIXELS = {
    ('dmt/deeplabv2_voc_1_20.py', 'a'): (10 - 104.008, 20 - 116.669, 30 - 122.675),
    ('dmt/deeplabv2_voc_1_50.py', 'b'): (10 - 104.008, 20 - 116.669, 30 - 122.675),
    ('dmt/deeplabv2_cityscapes_1_8.py', 'a'): (10 - 104.008, 20 - 116.669, 30 - 122.675),
    ('baselines/oracle_deeplabv2_voc.py', None): (10 - 104.008, 20 - 116.669, 30 - 122.675),
    ('baselines/oracle_deeplabv2_cityscapes.py', None): (10 - 104.008, 20 - 116.669, 30 - 122.675),
    ('dmt/deeplabv2_voc_1_20.py', 'b'): ((30 - 123.675) / 58.395, (20 - 116.28) / 57.12, (10 - 103.53) / 57.375),
    ('dmt/deeplabv2_cityscapes_1_8.py', 'b'): ((30 - 123.675) / 58.395, (20 - 116.28) / 57.12, (10 - 103.53) / 57.375),
    ('dmt/wrn28-2_cifar10_4000.py', 'a'): ((10 - 125.3) / 63.0, (20 - 123.0) / 62.1, (30 - 113.9) / 66.7),
    ('baselines/oracle_wrn28-2_cifar10.py', None): ((10 - 125.3) / 63.0, (20 - 123.0) / 62.1, (30 - 113.9) / 66.7),
}


@pytest.mark.parametrize(('name', 'model'), PIXELS)
def test_values_that_a_model_sees(name, model):
    cfg = load(name)
    own = cfg.model if model is None else RunPlan.of(cfg).configs[model][None]['model']
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        preprocess = MODELS.build(dict(own['data_preprocessor']))
    image = torch.tensor([10, 20, 30], dtype=torch.uint8)[:, None, None].expand(3, 2, 2)
    seen = preprocess(dict(inputs=[image], data_samples=None))['inputs']
    assert seen[0, :, 1, 1].tolist() == pytest.approx(PIXELS[name, model], abs=1e-4)


@pytest.mark.parametrize('method', ['dmt/wrn28-2', 'ablations/cl_wrn28-2'])
@pytest.mark.parametrize('number', CIFAR)
def test_published_classification(method, number):
    """DMT with gamma 4, and Curriculum Labeling, which is the same with gamma 0."""
    labels, epochs, batch = CIFAR[number]
    cfg = load(f'{method}_cifar10_{number}.py')
    settings = DMTSettings.from_config(cfg)
    gamma = 0 if 'cl_' in method else 4
    assert (cfg.model.head.loss.gamma1, cfg.model.head.loss.gamma2) == (gamma, gamma)
    assert (settings.scheme, settings.ranking, settings.select) == ('chain', 'all', 'last')
    assert cfg.model.head.loss.ramp is True
    assert settings.label_ratios == (0.2, 0.4, 0.6, 0.8, 1.0)
    assert settings.split.num_labeled == labels
    assert (settings.supervised['epochs'], settings.semi['epochs']) == (epochs, 750)
    assert (settings.semi['labeled_per_batch'], settings.semi['unlabeled_per_batch']) == batch
    assert cfg.train_dataloader.batch_size == sum(batch) == 512
    kinds = {kind: RunPlan.of(cfg).configs['a'][kind] for kind in ('supervised', 'semi')}
    assert {kind: own['optim_wrapper']['optimizer']['lr'] for kind, own in kinds.items()} == dict(
        supervised=0.2, semi=0.1
    )
    assert {kind: own['model']['mixup'] for kind, own in kinds.items()} == {
        'supervised': dict(alpha=0.75, dominant=False), 'semi': dict(alpha=0.75, dominant=True)
    }  # fmt: skip
    optimizer, (scheduler,), (ema,) = cfg.optim_wrapper.optimizer, cfg.param_scheduler, cfg.custom_hooks
    assert (optimizer.type, optimizer.momentum, optimizer.weight_decay) == ('SGD', 0.9, 5e-4)
    assert (scheduler.type, scheduler.eta_min) == ('CosineAnnealingLR', 0.0)
    assert (ema.type, ema.momentum) == ('EMAHook', 0.001)
    crop, flip, operation, _ = cfg.train_pipeline
    assert (crop.crop_size, crop.padding, crop.pad_val, flip.prob) == (32, 4, (128, 128, 128), 0.5)
    assert (operation.type, operation.ranges) == ('SmallImageRandAugment', 'published')
    assert cfg.dmt.labeled.pipeline == cfg.dmt.unlabeled.pipeline == cfg.train_pipeline
    preprocessor = cfg.model.data_preprocessor
    # 255 times the mean 0.49137, 0.48235, 0.44667 and the deviation 0.24706, 0.24353, 0.26157 of red, green and blue;
    # the images are RGB already.
    assert preprocessor.mean == [125.3, 123.0, 113.9]
    assert preprocessor.std == [63.0, 62.1, 66.7]
    assert preprocessor.to_rgb is False


@pytest.mark.parametrize('number', CIFAR)
def test_baseline_of_its_own_is_the_first_phase(number):
    """The same model, data, schedule and number of steps as phase 00_train_a of the DMT run."""
    labels, epochs, _ = CIFAR[number]
    own, dmt = load(f'baselines/baseline_wrn28-2_cifar10_{number}.py'), load(f'dmt/wrn28-2_cifar10_{number}.py')
    first = RunPlan.of(dmt).configs['a']['supervised']
    for key in ('model', 'optim_wrapper', 'custom_hooks'):
        assert own.to_dict()[key] == first[key]
    assert own.train_dataloader.dataset.num_labeled == labels
    assert own.train_dataloader.batch_size == 512
    assert own.train_cfg.max_iters == own.param_scheduler[0].end == round(epochs * labels / 512 + 0.5 - 1e-9)
    oracle = load('baselines/oracle_wrn28-2_cifar10.py')
    assert oracle.train_cfg.max_iters == oracle.param_scheduler[0].end == round(300 * 49800 / 512 + 0.5)
    assert oracle.train_dataloader.dataset.get('num_labeled') is None


# Ablations: variant, gamma and scheme; all else is that of DMT.
ABLATIONS = {
    'cbst': ('dmt', 0, 'self'),
    'dst': ('dmt', 5, 'self'),
    'mutual': ('dmt', 0, 'mutual'),
    'naive': ('naive', 5, 'mutual'),
    'flip': ('flip', 5, 'mutual'),
}


# DMT configs of EfficientNet-Lite, and how many images are unlabeled; 18 and 45 of the 367 of CamVid are labeled.
EFFICIENTNET = {'camvid_1_20': 349, 'camvid_1_8': 322, 'voc-small': 776}


@pytest.mark.parametrize(
    ('name', 'config'),
    [(name, f'deeplabv2_voc_{ratio}') for name in ABLATIONS for ratio in ('1_20', '1_50')]
    + [(name, f'efficientnet-lite0_{data}') for name in ('cbst', 'mutual') for data in EFFICIENTNET],
)
def test_ablations_differ_by_options_only(name, config):
    variant, gamma, scheme = ABLATIONS[name]
    cfg, dmt = load(f'ablations/{name}_{config}.py'), load(f'dmt/{config}.py')
    loss = cfg.model.decode_head.loss_decode
    assert (loss.get('variant', 'dmt'), loss.gamma1, loss.gamma2) == (variant, gamma, gamma)
    settings = DMTSettings.from_config(cfg)
    assert settings.scheme == scheme
    assert settings.models['a'] == dmt.dmt.models.to_dict()['a']
    splits = [changed.dmt.pop('split', None) for changed in (cfg, dmt)]
    if config.endswith('1_50'):  # Table 7 is of one split; two models start from the same weights
        assert (splits[0].ratio, splits[0].split_id) == (50, 2)
        assert splits[0].get('difference_maximised') == (None if scheme == 'self' else 0.8)
    else:
        assert splits[0] == splits[1]
    for changed in (cfg, dmt):
        changed.model.decode_head.loss_decode = None
        changed.dmt.pop('scheme', None)
        changed.dmt.models = None
    assert cfg.to_dict() == dmt.to_dict()


@pytest.mark.parametrize('data', ['camvid', 'voc-small'])
def test_efficientnet_oracle_learns_from_the_pool_of_dmt(data):
    oracle = load(f'baselines/oracle_efficientnet-lite0_{data}.py')
    dmt = load(f'dmt/efficientnet-lite0_{data.replace("camvid", "camvid_1_20")}.py')
    first = RunPlan.of(dmt).configs['a']['supervised']
    assert oracle.train_dataloader.dataset == dmt.train_dataloader.dataset
    if data == 'camvid':
        assert oracle.train_dataloader.dataset == dmt.dmt.labeled == dmt.dmt.unlabeled
    assert without_types_and_losses(oracle.model) == without_types_and_losses(first['model'])
    # mmsegmentation divides by the weights of the valid pixels; with avg_non_ignore=True, it fails with class weights.
    loss = oracle.model.decode_head.loss_decode
    assert (loss.type, loss.avg_non_ignore) == ('CrossEntropyLoss', False)
    assert loss.class_weight == first['model']['decode_head']['loss_decode']['class_weight']
    for key in ('optim_wrapper', 'custom_hooks', 'val_dataloader', 'test_dataloader'):
        assert oracle.to_dict()[key] == first.get(key, dmt.to_dict()[key])
    assert oracle.train_cfg.max_iters == oracle.param_scheduler[0].end


def test_voc_small_labels_each_fourth_image_and_leaves_no_other_out():
    cfg = load('dmt/efficientnet-lite0_voc-small.py')
    labeled, (train, aug), pool = cfg.dmt.labeled, cfg.dmt.unlabeled.datasets, cfg.train_dataloader.dataset.datasets
    assert labeled.indices[:3] == [0, 4, 8] and len(labeled.indices) == 110
    assert sorted(labeled.indices + train.indices) == list(range(437))  # the images in train.txt
    assert len(train.indices) + len(aug.indices) == EFFICIENTNET['voc-small'] and aug.indices[-1] < 2694
    own = [{key: value for key, value in part.items() if key != 'indices'} for part in (labeled, train)]
    assert own == [pool[0].to_dict()] * 2 and aug == pool[1]


@pytest.mark.parametrize('ratio', ['1_20', '1_50'])
def test_online_self_training_has_one_phase_of_all_steps(ratio):
    cfg, dmt = load(f'ablations/online-st_deeplabv2_voc_{ratio}.py'), load(f'dmt/deeplabv2_voc_{ratio}.py')
    assert (cfg.model.type, cfg.model.threshold) == ('OnlineST', 0.9)
    settings, other = DMTSettings.from_config(cfg), DMTSettings.from_config(dmt)
    assert (settings.scheme, list(settings.models)) == ('single', ['a'])
    for stage in ('supervised', 'semi', None):
        own, first = (RunPlan.of(config).configs['a'][stage] for config in (cfg, dmt))
        assert without_types_and_losses(stock_model(own['model'])) == without_types_and_losses(first['model'])
        for key in first.keys() - {'data_preprocessor', 'model'}:  # which the stock model owns
            assert own[key] == first[key]
    assert settings.semi == {**other.semi, 'epochs': len(other.label_ratios) * other.semi['epochs']}
    assert settings.supervised == other.supervised
    assert settings.split.ratio == other.split.ratio
    assert settings.split.split_id == (2 if ratio == '1_50' else 0)


@pytest.mark.parametrize('name', PUBLISHED)
def test_segmentation_baseline_is_the_first_phase(name):
    """The same model A, data, schedule and number of steps as phase 00_train_a of the DMT run."""
    own, dmt = load(name.replace('dmt/', 'baselines/baseline_')), load(name)
    settings = DMTSettings.from_config(dmt)
    first = RunPlan.of(dmt).configs['a']['supervised']
    for key in ('optim_wrapper', 'load_from'):
        assert own.to_dict()[key] == first[key]
    assert without_types_and_losses(own.model) == without_types_and_losses(first['model'])
    assert own.model.decode_head.loss_decode == dict(type='CrossEntropyLoss', avg_non_ignore=True)
    labeled = dmt.dmt.labeled.to_dict()
    if settings.split is not None:
        file = name.removesuffix('.py').split('_1_')[-1]
        labeled['ann_file'] = f'splits/{file}_labeled_0.txt'
    assert own.train_dataloader.dataset.to_dict() == labeled
    images = LABELED[name.removesuffix('.py').split(data_set(name) + '_')[1]][0 if data_set(name) == 'voc' else 1]
    steps = -int(-settings.supervised['epochs'] * images // 8)
    assert own.train_cfg.max_iters == own.train_cfg.val_interval == own.param_scheduler[0].end == steps
    epochs, images = ORACLE[data_set(name)]
    oracle = load(f'baselines/oracle_deeplabv2_{data_set(name)}.py')
    assert oracle.train_cfg.max_iters == oracle.param_scheduler[0].end == -(-epochs * images // 8)
    assert oracle.train_dataloader.dataset.to_dict() == dmt.train_dataloader.dataset.to_dict()


def test_mixed_pair_is_made_of_the_two_pairs():
    """A is the DeepLab-v2 of its own config, B the SegFormer of its own, with their optimizers in both kinds."""
    mixed = load('dmt/deeplabv2_segformer_voc_1_20.py')
    for model, name in (('a', 'deeplabv2_voc_1_20'), ('b', 'segformer_mit-b2_voc_1_20')):
        own = load(f'dmt/{name}.py')
        for kind in ('supervised', 'semi'):
            found, expected = (RunPlan.of(cfg).configs[model][kind] for cfg in (mixed, own))
            for key in ('model', 'optim_wrapper', 'param_scheduler', 'load_from'):
                assert found[key] == expected[key]
