"""Whole runs of image classification: complete, killed and resumed, on two processes, mutual, on image folders."""

import json
import pickle
import re
import runpy
import shutil
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import mmpretrain
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.apis import ImageClassificationInferencer
from mmpretrain.datasets import PackInputs
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from PIL import Image

from mmdmt.engine import DMTRunner, PhaseLoop, report
from mmdmt.engine.result import best_phase
from mmdmt.labels.table import LabelTable
from tests.runs import TRAIN_STEP, killed, mtimes, on_two_processes, run, state_dict

ROOT = Path(__file__).parents[1]
# 10 labeled and 260 unlabeled digits; two iterations of a few steps each.
TINY = {
    'dmt.rehearse': False,
    'dmt.report': False,
    'train_dataloader.batch_size': 8,
    'val_dataloader.dataset.indices': 20,
    # Images one by one: their labels may not depend on which others share their batch.
    'test_dataloader.batch_size': 1,
    'test_dataloader.dataset.indices': 20,
    'default_hooks.logger.interval': 2,
    'dmt.label_ratios': (0.5, 1.0),
    'dmt.ranking': 'all',
    'dmt.split.num_labeled': 10,
    # Labeled and unlabeled images are both from the 270 of this subset.
    'dmt.labeled.subset': 'val',
    'dmt.unlabeled.subset': 'val',
    'dmt.supervised.iters': 4,
    'dmt.semi': dict(_delete_=True, epochs=1, labeled_per_batch=2, unlabeled_per_batch=6),
}
LABEL_STEP = ('mmdmt.labels.table_writer', 'ImageLabelWriter', 'process')


def config_of(name, work_dir, options):
    cfg = Config.fromfile(ROOT / 'configs/dmt' / name)
    cfg.merge_from_dict({**options, 'work_dir': str(work_dir)})
    return cfg


def tiny(work_dir, options=None, name='wrn10-1_digits.py'):
    return config_of(name, work_dir, {**TINY, **(options or {})})


@pytest.fixture(scope='module')
def complete(tmp_path_factory):
    """A complete chain of two iterations, 10 of the 270 validation digits labeled, 260 not; with what it began with."""
    runner = DMTRunner(tiny(tmp_path_factory.mktemp('complete')))
    runner.initial_weights, run_loop = {}, PhaseLoop.run

    def note(loop):
        weight = loop.runner.model.state_dict()['backbone.stem.weight']
        runner.initial_weights[Path(loop.runner.work_dir).name] = weight.clone()
        return run_loop(loop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PhaseLoop, 'run', note)
        runner.train()
    return runner


def test_phases_hand_over(complete):
    phases = complete.manifest.phases
    assert [phase.name for phase in phases] == [
        '00_train_a', '01_label_a', '01_train_a', '02_label_a', '02_train_a'
    ]  # fmt: skip
    assert all(complete.manifest.is_complete(phase.name) for phase in phases)
    configs = {
        phase.name: Config.fromfile(complete.work_dir / phase.name / f'{phase.name}.py', import_custom_modules=False)
        for phase in phases
    }
    assert Path(configs['02_label_a'].load_from) == complete.manifest.checkpoint('01_train_a')
    for name in ('01_train_a', '02_train_a'):  # from a new initialisation, with a seed of its own
        assert configs[name].load_from is None
    assert len({cfg.randomness.seed for cfg in configs.values()}) == len(phases)


def test_training_follows_the_selected_images(complete):
    """Half of 260 images are 130: 22 steps of 6, then all of them: 44; loop, schedule and ramp have this length."""
    for name, selected, steps in (('01_train_a', 130, 22), ('02_train_a', 260, 44)):
        cfg = Config.fromfile(complete.work_dir / name / f'{name}.py', import_custom_modules=False)
        assert LabelTable(complete.manifest.folder(name.replace('train', 'label'))).info()['kept'] == selected
        assert complete.manifest.record(name)['steps'] == cfg.train_cfg.max_iters == steps
        assert cfg.param_scheduler[0]['end'] == steps
        assert cfg.train_dataloader.dataset.dataset.datasets[1].label_ratio == selected / 260


def test_each_iteration_starts_from_other_weights(complete):
    weights = complete.initial_weights
    assert list(weights) == ['00_train_a', '01_train_a', '02_train_a']
    for first, second in combinations(weights.values(), 2):
        assert not torch.isclose(first, second).any()


def test_labels_come_from_the_averaged_model(complete):
    """A phase's checkpoint holds the average; the weights that were trained lie beside it."""
    checkpoint = torch.load(complete.manifest.checkpoint('00_train_a'), weights_only=False)
    average, raw = checkpoint['state_dict'], checkpoint['ema_state_dict']
    key = 'head.fc.weight'
    assert not torch.equal(average[key], raw[f'module.{key}'])
    assert 'ema_state_dict' not in torch.load(complete.work_dir / 'best.pth', weights_only=False)


def test_split_is_balanced_and_kept(complete):
    lists = {path.stem: path.read_text().splitlines() for path in (complete.work_dir / 'splits').iterdir()}
    assert {name: len(lines) for name, lines in lists.items()} == {'labeled': 10, 'unlabeled': 260}
    assert Counter(line.split()[1] for line in lists['labeled']) == Counter(map(str, range(10)))
    assert not set(lists['labeled']) & set(lists['unlabeled'])


def test_report_has_the_accuracy_of_the_labels(complete):
    text = (complete.work_dir / 'report.md').read_text()
    best = best_phase(complete.manifest, complete.settings.metric)
    said = ["model a: mixup.weighting='image': a rejected label regains weight through its mixup partner"]
    assert text == report.render(complete.manifest, complete.settings, best, said)
    assert '| label accuracy | accuracy/top1 |' in text
    rows = LabelTable(complete.work_dir / '02_label_a').rows()
    right = np.mean([row.label == row.true_label for row in rows])
    assert complete.manifest.record('02_label_a')['accuracy'] == pytest.approx(100 * right)
    assert f'{100 * right:.2f}' in text.split('02_train_a')[1]


def test_result_is_a_stock_model(complete):
    cfg = Config.fromfile(complete.work_dir / 'best.py')
    model = MODELS.build(cfg.model)
    assert type(model) is ImageClassifier
    assert 'mixup' not in cfg.model
    assert 'custom_hooks' not in cfg
    model.load_state_dict(state_dict(complete.work_dir / 'best.pth'), strict=True)


def test_result_in_the_stock_inferencer(complete):
    """It predicts as the label phase of the same model did."""
    best = str(complete.work_dir / 'best.py')
    inferencer = ImageClassificationInferencer(best, str(complete.work_dir / 'best.pth'), device='cpu')
    image = complete.data.dataset(complete.data.models['a'].labeled['semi'], '')[0]
    pixels = image['inputs'].permute(1, 2, 0).numpy()
    (result,) = inferencer(pixels)
    model = inferencer.model
    expected = model(model.data_preprocessor(dict(inputs=image['inputs'][None]))['inputs']).softmax(1)[0]
    np.testing.assert_allclose(result['pred_scores'], expected.detach().numpy(), atol=1e-5)
    assert result['pred_class'] == str(result['pred_label'])


@pytest.mark.parametrize('operation', ['val', 'test'])
def test_evaluation(complete, operation):
    metrics = getattr(complete, operation)()
    assert {'accuracy/top1', 'accuracy/fine_grained'} <= metrics.keys()
    assert metrics['accuracy/fine_grained'] <= metrics['accuracy/top1']
    if operation == 'val':
        assert metrics['accuracy/top1'] == complete.manifest.record('02_train_a')['metrics']['accuracy/top1']


def test_accuracy_of_each_class_is_kept(complete):
    record = complete.manifest.record('02_train_a')
    assert set(record['metrics']) == {'accuracy/top1', 'accuracy/fine_grained'}
    found, counts = record['class_accuracy'], complete.data.sets.class_counts['val']
    assert set(found) == {str(index) for index, number in enumerate(counts) if number}
    mean = np.average(list(found.values()), weights=[number for number in counts if number])
    assert mean == pytest.approx(record['metrics']['accuracy/top1'], abs=0.01)


def test_dry_run(tmp_path):
    text = DMTRunner(tiny(tmp_path / 'run')).dry_run()
    assert re.search(r'\| 02_train_a \| a +\| a +\| 1 +\| 10 +\| 44 ', text)
    assert 'model a: 10 labeled, 260 unlabeled images' in text
    assert '(kept)' in text
    assert not (tmp_path / 'run').exists()


def test_killed_late_run_goes_on(complete, tmp_path):
    """Killed while it labels and trains in the last iteration, it goes on; nothing that was complete is redone."""
    config, work_dir, train = tmp_path / 'tiny.py', tmp_path / 'run', ROOT / 'tools/train.py'
    tiny(work_dir).dump(config)
    killed(LABEL_STEP, work_dir, '02_label_a', 100, train, config)
    kept = mtimes(work_dir, '00*/**/*', '01*/**/*', '02_label_a/part-*.csv')
    assert len(LabelTable(work_dir / '02_label_a').names()) == 100
    killed(TRAIN_STEP, work_dir, '02_train_a', 30, train, config, '--resume')
    # The images that had a label were not labeled again, and the labels are those of an undisturbed run.
    assert LabelTable(work_dir / '02_label_a').rows() == LabelTable(complete.work_dir / '02_label_a').rows()
    assert {path: time for path, time in kept.items() if path.exists()}.items() <= mtimes(work_dir, '**/*').items()
    done = run(train, config, '--resume')
    assert done.returncode == 0, done.stdout
    assert f'Resuming from {work_dir}/02_train_a/iter_22.pth' in done.stdout
    assert (work_dir / 'best.pth').is_file()


def test_two_processes_label_as_one(tmp_path):
    """On two processes each image is labeled once, with the label that one process gives it, bit for bit."""
    options = {'dmt.label_ratios': (1.0,), 'dmt.semi.iters': 3, 'dmt.rehearse': True}
    config, together, alone = tmp_path / 'tiny.py', tmp_path / 'together', tmp_path / 'alone'
    tiny(together, options).dump(config)
    bash = on_two_processes()
    done = bash(ROOT / 'tools/dist_train.sh', config, 2)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count('Not rehearsed: only a run of one process') == 1
    done = bash(ROOT / 'tools/dist_test.sh', config, together / 'best.pth', 2)
    assert 'accuracy/fine_grained' in done.stdout, done.stdout
    shutil.copytree(together / '00_train_a', alone / '00_train_a')
    shutil.copy(together / 'dmt.json', alone)
    DMTRunner(tiny(alone, options)).train(phase='01_label_a')
    rows = LabelTable(alone / '01_label_a').rows()
    assert len(rows) == 260
    assert rows == LabelTable(together / '01_label_a').rows()


def test_two_chains_teach_each_other(tmp_path):
    runner = DMTRunner(tiny(tmp_path, {'dmt.label_ratios': (1.0,), 'dmt.semi.iters': 3}, 'mutual_digits.py'))
    runner.train()
    assert [phase.name for phase in runner.manifest.phases] == [
        '00_train_a', '00_train_b', '01_label_a', '01_train_b', '01_label_b', '01_train_a'
    ]  # fmt: skip
    keys = {name: set(state_dict(runner.manifest.checkpoint(f'01_train_{name}'))) for name in 'ab'}
    assert 'backbone.stem.weight' in keys['a']
    assert 'backbone.layer1.0.conv1.weight' in keys['b']
    for name in 'ab':
        cfg = Config.fromfile(tmp_path / f'01_train_{name}/01_train_{name}.py', import_custom_modules=False)
        assert cfg.load_from is None
    assert set(runner.test()) >= {'accuracy/top1'}


def test_chain_without_mixup_and_ranked_by_class(tmp_path):
    options = {'model.mixup': None, 'dmt.supervised.model': dict(_delete_=True), 'dmt.ranking': 'class'}
    runner = DMTRunner(tiny(tmp_path, {**options, 'dmt.label_ratios': (0.3,), 'dmt.select': 'val'}))
    runner.train()
    assert runner.manifest.record('01_train_a')['checkpoint'].startswith('best_accuracy_top1_iter_')
    info = LabelTable(tmp_path / '01_label_a').info()
    expected = sum(max(1, round(0.3 * number)) for number in info['images_by_class'] if number)
    assert info['kept'] == expected
    # As long as the plan says: 0.3 of 260 images, 6 a step. Rounding by class selects one or two more or fewer.
    assert abs(info['kept'] - 78) <= 5
    assert '/13]' in next((tmp_path / '01_train_a').glob('*/*.log')).read_text()


def test_stock_tools(tmp_path):
    """mmpretrain's own tools train our config, and test its result to the same figure as ours."""
    tools = Path(mmpretrain.__file__).parent / '.mim/tools'
    if not tools.is_dir():
        pytest.skip(f'{tools} is not installed')
    config, work_dir = tmp_path / 'tiny.py', tmp_path / 'run'
    tiny(tmp_path / 'unused', {'dmt.label_ratios': (1.0,)}).dump(config)
    done = run(tools / 'train.py', config, '--work-dir', work_dir)
    assert (work_dir / 'best.pth').is_file(), done.stdout
    best = [work_dir / 'best.py', work_dir / 'best.pth', '--work-dir', tmp_path / 'test']
    figures = [
        re.findall(r'accuracy/top1: [\d.]+  accuracy/fine_grained: [\d.]+', run(tool, *best).stdout)
        for tool in (tools / 'test.py', ROOT / 'tools/test.py')
    ]
    assert figures[0] == figures[1] != []


def test_predictions_are_saved(complete, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('LOCAL_RANK', '0')
    arguments = [
        complete.work_dir / 'best.py',
        complete.work_dir / 'best.pth',
        '--work-dir',
        tmp_path / 'test',
        '--out',
    ]
    tool = str(ROOT / 'tools/test.py')
    monkeypatch.setattr(sys, 'argv', ['test.py', *map(str, arguments), str(tmp_path / 'labels')])
    with pytest.raises(SystemExit):
        runpy.run_path(tool, run_name='__main__')
    assert re.search(r'^error: --out .*labels: classification writes one file, which', capsys.readouterr().err, re.M)
    sys.argv[-1] += '.pkl'
    runpy.run_path(tool, run_name='__main__')
    predictions = pickle.loads((tmp_path / 'labels.pkl').read_bytes())
    assert len(predictions) == 20
    assert {'img_path', 'pred_label', 'pred_score'} <= predictions[0].keys()


# Image folders


@pytest.fixture
def folders(tmp_path):
    """3 labeled, 2 validation images of each of two classes, and 6 unlabeled ones."""
    rng = np.random.default_rng(0)

    def write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)

    for name in ('cat', 'dog'):
        for index in range(3):
            write(tmp_path / f'images/labeled/{name}/{index}.png')
        for index in range(2):
            write(tmp_path / f'images/val/{name}/{index}.jpg')
    for index in range(6):
        write(tmp_path / f'images/unlabeled/{index}.jpg')
    return tmp_path / 'images'


@pytest.fixture
def folder_config(folders, tmp_path):
    def make(options=None):
        cfg = config_of('resnet18_folders.py', tmp_path / 'run', {
            'model.head.num_classes': 2,
            'model.head.in_channels': 64,
            'model.backbone': dict(base_channels=8, stem_channels=8, init_cfg=None),
            'train_dataloader.batch_size': 2,
            'train_dataloader.num_workers': 0,
            'val_dataloader.num_workers': 0,
            'test_dataloader.num_workers': 0,
            'dmt.label_ratios': (0.5, 1.0),
            'dmt.supervised.iters': 2,
            'dmt.semi': dict(_delete_=True, iters=2, labeled_per_batch=1, unlabeled_per_batch=2),
        })  # fmt: skip
        for data in (cfg.dmt.labeled, cfg.dmt.unlabeled, cfg.val_dataloader.dataset, cfg.test_dataloader.dataset):
            data.data_root = str(folders)
        cfg.merge_from_dict(options or {})
        return cfg

    return make


def test_image_folders(folder_config, tmp_path):
    runner = DMTRunner(folder_config())
    runner.train()
    rows = LabelTable(tmp_path / 'run/02_label_a').rows()
    assert [row.name for row in rows] == [f'{index:06d}_{index}' for index in range(6)]
    assert all(row.true_label is None for row in rows)
    assert 'label accuracy' not in (tmp_path / 'run/report.md').read_text()
    checkpoint = torch.load(tmp_path / 'run/best.pth', weights_only=False)
    assert checkpoint['meta']['dataset_meta']['classes'] == ('cat', 'dog')


def test_split_of_image_folders(folder_config, folders, tmp_path):
    options = {
        'dmt.split': dict(num_labeled=2),
        'dmt.unlabeled.data_prefix': 'labeled',
        'dmt.unlabeled.with_label': True,
    }
    runner = DMTRunner(folder_config(options))
    runner.train()
    lists = {path.stem: path.read_text().splitlines() for path in (tmp_path / 'run/splits').iterdir()}
    assert sorted(line.split('/')[0] for line in lists['labeled']) == ['cat', 'dog']
    assert [line.split()[-1] for line in lists['unlabeled']] == ['0', '0', '1', '1']
    assert json.loads((tmp_path / 'run/02_label_a/phase.json').read_text())['images'] == 4
    checkpoint = torch.load(tmp_path / 'run/best.pth', weights_only=False)
    assert tuple(checkpoint['meta']['dataset_meta']['classes']) == ('cat', 'dog')


def test_labeled_images_held_out(folder_config, tmp_path):
    """One image of each class chooses the checkpoints, loaded as the validation images are."""
    runner = DMTRunner(folder_config({'dmt.select': 'holdout', 'dmt.holdout': 0.34, 'dmt.rehearse': True}))
    runner.train()
    held = (tmp_path / 'run/splits/holdout.txt').read_text().split()
    assert sorted(name.split('/')[0] for name in held) == ['cat', 'dog']
    assert runner.manifest.record('00_train_a')['labeled'] == 4
    dataset = runner.data.phases['01_train_a'].config.val_dataloader.dataset
    assert [step.type for step in dataset.dataset.pipeline][-1] == 'PackInputs'
    assert 'on the held-out labeled images' in (tmp_path / 'run/report.md').read_text()


@pytest.fixture
def refused(folder_config):
    """``refused(error, options, *texts)``: a run is refused with an error that holds the texts; nothing is written."""

    def check(error, options, *texts):
        cfg = folder_config(options)
        with pytest.raises(error) as raised:
            DMTRunner(cfg).train()
        for text in texts:
            assert text in str(raised.value)
        assert not list(Path(cfg.work_dir).glob('0*'))

    return check


def test_classes_that_are_balanced_by_repetition(folder_config, folders):
    """mmengine's wrapper repeats the images of the rare class; no image is listed twice by mistake."""
    for index in (1, 2):
        (folders / f'labeled/cat/{index}.png').unlink()
    config = folder_config()
    config.dmt.labeled = dict(type='ClassBalancedDataset', oversample_thr=0.9, dataset=config.dmt.labeled.to_dict())
    runner = DMTRunner(config)
    runner.train()
    assert runner.manifest.record('00_train_a')['labeled'] > 4
    config.dmt.split = dict(num_labeled=2)
    with pytest.raises(ValueError, match=r'^dmt\.split needs dmt\.labeled to be one .* dataset with labels, got Class'):
        DMTRunner(config).dry_run()


@pytest.mark.parametrize('split', [False, True])
def test_copies_in_hidden_folders_are_told(folder_config, folders, split):
    (folders / 'labeled/cat/.ipynb_checkpoints').mkdir()
    copy = shutil.copy(folders / 'labeled/cat/0.png', folders / 'labeled/cat/.ipynb_checkpoints/0-checkpoint.png')
    (folders / 'labeled/cat/4.HEIC').touch()
    options = {
        'dmt.split': dict(num_labeled=2),
        'dmt.unlabeled.data_prefix': 'labeled',
        'dmt.unlabeled.with_label': True,
    }
    text = DMTRunner(folder_config(options if split else {})).dry_run()
    assert 'warning: dmt.labeled: 1 of its images are in hidden folders or are hidden files' in text
    assert f': {copy}; delete them' in text
    assert f'dmt.labeled: {folders}/labeled holds 1 images that are not read' in text


def test_empty_class_folder(refused, folders):
    (folders / 'labeled/bird').mkdir()
    refused(
        ValueError, {'model.head.num_classes': 3}, "dmt.labeled has no image of 1 of 3 classes: 'bird'",
    )  # fmt: skip


def test_labels_outside_the_classes(refused):
    refused(
        ValueError,
        {'model.head.num_classes': 1},
        'dmt.labeled has 2 classes (cat, dog), but the model has num_classes=1',
    )


def test_listed_label_outside_the_classes(refused, folders):
    (folders / 'list.txt').write_text('cat/0.png 0\ndog/0.png 2\n')
    options = {'dmt.labeled.ann_file': 'list.txt', 'dmt.labeled.classes': ['cat', 'dog']}
    refused(ValueError, options, 'dog/0.png has label 2; allowed is one of 0..1')


def test_ratio_that_selects_nothing(refused):
    refused(ValueError, {'dmt.label_ratios': (0.05, 1.0)}, '0.05 selects none of the 6 unlabeled images')


@pytest.mark.parametrize('number', [8, 3])
def test_labeled_set_larger_than_the_data(refused, number):
    refused(ValueError, {'dmt.split': dict(num_labeled=number)}, 'dmt.split: number')


def test_split_that_leaves_nothing(refused):
    refused(ValueError, {'dmt.split': dict(num_labeled=6)}, 'dmt.split.num_labeled=6 leaves none of the 6 images')


class OwnClassifier(ImageClassifier):
    """Not stock, so the run does not replace it."""


class OwnPacking(PackInputs):
    """Likewise."""


@pytest.mark.parametrize(
    ('loss', 'message'),
    [
        ({}, 'OwnClassifier does not pass the confidence'),
        (dict(_delete_=True, type='CrossEntropyLoss'), 'no log_odds'),
    ],
)
def test_classifier_of_the_user(folder_config, loss, message):
    """With a dynamic loss, it would train unweighted; without one, it could not label."""
    cfg = folder_config({'model.type': OwnClassifier, 'model.head.loss': loss})
    cfg.model.pop('mixup', None)
    with pytest.raises(ValueError, match=message):
        DMTRunner(cfg).train()
    assert not list(Path(cfg.work_dir).glob('0*'))


def test_split_of_the_other_task(refused):
    refused(ValueError, {'dmt.split': dict(ratio=20)}, 'dmt.split has unknown key(s) ratio', 'num_labeled')


def test_shared_images(refused):
    options = {'dmt.unlabeled.data_prefix': 'labeled'}
    refused(ValueError, options, 'dmt.labeled and dmt.unlabeled share 6 of their images')


def test_missing_folder(refused):
    options = {'dmt.unlabeled.data_prefix': 'nowhere'}
    refused(FileNotFoundError, options, 'dmt.unlabeled: data_prefix', 'nowhere', 'set data_root')


def test_broken_image(refused, folders):
    (folders / 'unlabeled/3.jpg').write_bytes(b'no image')
    refused(ValueError, {}, 'dmt.unlabeled', '3.jpg cannot be read as an image')


def test_batch_augments(refused):
    augments = dict(augments=dict(type='Mixup', alpha=0.8))
    refused(ValueError, {'model.train_cfg': augments}, 'dmt.models.a', 'batch_augments', 'mixup=dict(alpha=...)')


def test_pipeline_without_confidence(refused, folder_config):
    pipeline = folder_config().dmt.unlabeled.pipeline
    pipeline[-1].type = OwnPacking
    refused(ValueError, {'dmt.unlabeled.pipeline': pipeline}, 'dmt.unlabeled.pipeline must end with PackDMTInputs')


def test_missing_weights(refused):
    options = {'dmt.models.a': dict(load_from='no_such.pth', weights_help='Get it with tools/get.py.')}
    refused(FileNotFoundError, options, 'dmt.models.a', "'no_such.pth' do not exist. Get it with tools/get.py.")
