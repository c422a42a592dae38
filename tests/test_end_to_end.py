"""Whole runs: complete, in pieces, killed and resumed, on two processes, through the stock tools."""

import json
import os
import re
import runpy
import shutil
import sys
from pathlib import Path

import mmseg
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import TestLoop
from mmseg.apis import inference_model, init_model
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS

from mmdmt.engine import DMTRunner, report
from mmdmt.engine.result import best_phase
from mmdmt.labels.maps import LabelMaps
from mmdmt.seg.digits import DigitScenesDataset
from tests.runs import TRAIN_STEP, VAL_STEP, assert_same_weights, killed, mtimes, on_two_processes, run, state_dict

SELF = {
    'dmt.scheme': 'self',
    'dmt.models': dict(_delete_=True, a=dict()),
    'dmt.label_ratios': (1.0,),
    'model.decode_head.loss_decode.gamma1': 0.0,
    'model.decode_head.loss_decode.gamma2': 0.0,
}
LABEL_STEP = ('mmdmt.labels.map_writer', 'PseudoLabelWriter', '_keep')


def labels(folder):
    """Class map and confidence of all labels in a folder."""
    store = LabelMaps(folder)
    return {name: np.stack([part.astype(int) for part in store.read(name)]) for name in store.names()}


def assert_same_labels(folder, other):
    first, second = labels(folder), labels(other)
    assert first.keys() == second.keys() != set()
    assert all((first[name] == second[name]).all() for name in first)
    counts = [LabelMaps(path).histogram().counts for path in (folder, other)]
    assert torch.equal(*counts)


@pytest.fixture(scope='module')
def complete(tiny_config, tmp_path_factory):
    """A complete mutual run of two iterations."""
    runner = DMTRunner(tiny_config(tmp_path_factory.mktemp('complete')))
    runner.train()
    return runner


def test_all_phases_are_complete(complete):
    phases = complete.manifest.phases
    assert len(phases) == 10
    assert [phase.name for phase in phases if not complete.manifest.is_complete(phase.name)] == []
    for phase in phases:
        checkpoints = [path.name for path in (complete.work_dir / phase.name).glob('*.pth')]
        assert checkpoints == (['iter_4.pth'] if phase.kind == 'train' else [])
    assert json.loads(complete.manifest.path.read_text())['plan'][0]['name'] == '00_train_a'
    text = (complete.work_dir / 'report.md').read_text()
    best = best_phase(complete.manifest, complete.settings.metric)
    assert text == report.render(complete.manifest, complete.settings, best)
    assert 'not run' not in text


def test_phases_hand_over(complete):
    """Each phase starts from the weights and labels that the plan says."""
    for phase in complete.manifest.phases:
        cfg = Config.fromfile(complete.work_dir / phase.name / f'{phase.name}.py', import_custom_modules=False)
        if phase.init is None:
            assert cfg.load_from is None
        else:
            assert Path(cfg.load_from) == complete.work_dir / phase.init / 'iter_4.pth'
        if phase.labels:
            pseudo = cfg.train_dataloader.dataset.dataset.datasets[1]
            assert Path(pseudo.label_dir) == complete.work_dir / phase.labels
            assert pseudo.label_ratio == phase.label_ratio
    coverage = [complete.manifest.record(name)['coverage'] for name in ('01_label_a', '02_label_a')]
    assert coverage == [pytest.approx(0.5, abs=0.05), 1.0]


def test_baselines_differ(complete):
    """The two models start from other weights: they are to make other mistakes."""
    first, second = (state_dict(complete.work_dir / name / 'iter_4.pth') for name in ('00_train_a', '00_train_b'))
    assert not torch.equal(first['backbone.conv1.weight'], second['backbone.conv1.weight'])


def test_labels_are_kept(complete):
    for phase in complete.manifest.phases:
        if phase.kind == 'label':
            assert len(list((complete.work_dir / phase.name / 'labels').glob('*.png'))) == 6


def test_result_is_a_stock_model(complete):
    model = MODELS.build(Config.fromfile(complete.work_dir / 'best.py').model)
    assert type(model) is EncoderDecoder
    model.load_state_dict(state_dict(complete.work_dir / 'best.pth'), strict=True)
    best = best_phase(complete.manifest, complete.settings.metric).name
    assert_same_weights(complete.work_dir / 'best.pth', complete.manifest.checkpoint(best))


def test_result_in_the_stock_api(complete):
    model = init_model(str(complete.work_dir / 'best.py'), str(complete.work_dir / 'best.pth'), device='cpu')
    result = inference_model(model, np.zeros((48, 80, 3), np.uint8))
    assert result.pred_sem_seg.data.shape == (1, 48, 80)
    assert len(model.dataset_meta['classes']) == 11


@pytest.mark.parametrize('operation', [DMTRunner.test, DMTRunner.val])
def test_evaluation_gives_what_was_recorded(complete, operation):
    best = best_phase(complete.manifest, complete.settings.metric)
    recorded = complete.manifest.score(best, 'mIoU')
    assert recorded > 0
    assert operation(complete)['mIoU'] == recorded


def test_existing_run_is_refused(complete):
    before = mtimes(complete.work_dir, '**/*')
    with pytest.raises(FileExistsError, match='add --resume'):
        DMTRunner(complete.cfg).train()
    assert mtimes(complete.work_dir, '**/*') == before


def test_resuming_a_complete_run_does_nothing(complete, tiny_config):
    before, text = mtimes(complete.work_dir, '0*/**/*', 'dmt.json'), (complete.work_dir / 'report.md').read_text()
    DMTRunner(tiny_config(complete.work_dir, {'resume': True})).train()
    assert mtimes(complete.work_dir, '0*/**/*', 'dmt.json') == before
    assert (complete.work_dir / 'report.md').read_text() == text


def test_self_training_without_kept_labels(tiny_config, tmp_path):
    runner = DMTRunner(tiny_config(tmp_path, {**SELF, 'dmt.keep_labels': False}))
    runner.train()
    assert [phase.name for phase in runner.manifest.phases] == ['00_train_a', '01_label_a', '01_train_a']
    assert (tmp_path / 'best.pth').is_file()
    assert not list(tmp_path.glob('*/labels')) + list(tmp_path.glob('*/confidence'))
    assert LabelMaps(tmp_path / '01_label_a').info()['num_images'] == 6
    # A run whose labels are gone is complete all the same.
    before = mtimes(tmp_path, '0*/**/*')
    DMTRunner(tiny_config(tmp_path, {**SELF, 'dmt.keep_labels': False, 'resume': True})).train()
    assert mtimes(tmp_path, '0*/**/*') == before


def test_gamma_rises_over_a_phase(tiny_config, tmp_path):
    """Of a model that stays as it is: w = p_B ** gamma is nearly 1 at the first step, p_B at the last."""
    options = {
        'default_hooks.logger.interval': 1,
        'dmt.semi.optim_wrapper.optimizer.lr': 0.0,
        'model.decode_head.dropout_ratio': 0,
        'model.decode_head.loss_decode': dict(gamma1=1.0, gamma2=1.0, variant='naive', ramp=True),
    }
    DMTRunner(tiny_config(tmp_path, {**SELF, **options})).train()
    scalars = [json.loads(line) for line in next(tmp_path.glob('01_train_a/*/vis_data/scalars.json')).open()]
    weights = [step['mean_weight'] for step in scalars if 'mean_weight' in step]
    assert len(weights) == 4
    assert weights == sorted(weights, reverse=True)
    # p_B is at least about 1/20 for 11 classes, and at most 1/2 for a model that has learned for 4 steps.
    assert weights[0] > 0.05 ** np.exp(-5)
    assert weights[-1] < 0.5


def test_selecting_by_validation(tiny_config, tmp_path):
    runner = DMTRunner(tiny_config(tmp_path, {**SELF, 'dmt.select': 'val'}))
    runner.train()
    for name in ('00_train_a', '01_train_a'):
        record = runner.manifest.record(name)
        assert record['checkpoint'].startswith('best_mIoU_iter_')
        assert record['metrics']['mIoU'] >= record['metrics_last']['mIoU']
        assert [path.name for path in (tmp_path / name).glob('*.pth')] == [record['checkpoint']]
    assert runner.test()['mIoU'] == runner.manifest.record('01_train_a')['metrics']['mIoU']


def test_phases_one_at_a_time(complete, tiny_config, tmp_path):
    """In another valid order, phase by phase, the same comes out, bit for bit."""

    def train(name):
        DMTRunner(tiny_config(tmp_path, {'dmt.label_ratios': (0.5,)})).train(phase=name)

    with pytest.raises(ValueError, match=r"--phase 'x' is not one of 00_train_a, 00_train_b, 01_label_a"):
        train('x')
    with pytest.raises(ValueError, match=r'01_label_b needs phase\(s\) 00_train_b to be complete'):
        train('01_label_b')
    train('00_train_b')
    train('01_label_b')
    with pytest.raises(ValueError, match=r'01_train_a needs phase\(s\) 00_train_a to be complete'):
        train('01_train_a')
    for name in ('00_train_a', '01_train_a', '01_label_a'):
        train(name)
        assert not (tmp_path / 'best.pth').exists()
    train('01_train_b')
    assert (tmp_path / 'best.pth').exists()
    assert (tmp_path / 'report.md').exists()
    assert_same_labels(tmp_path / '01_label_a', complete.work_dir / '01_label_a')
    for name in ('01_train_a', '01_train_b'):
        # Though another run in this process had a phase of this name, the curves are in this folder.
        assert len(list(tmp_path.glob(f'{name}/*/vis_data/scalars.json'))) == 1
        assert_same_weights(tmp_path / name / 'iter_4.pth', complete.work_dir / name / 'iter_4.pth')


def test_baselines_trained_before(complete, tiny_config, tmp_path):
    """Two checkpoints take the place of the first phases; what follows is what followed when they were trained."""
    given = {f'dmt.models.{name}.supervised_checkpoint': str(complete.manifest.checkpoint(f'00_train_{name}'))
             for name in 'ab'}  # fmt: skip
    cfg = tiny_config(tmp_path, {**given, 'dmt.label_ratios': (0.5,)})
    assert re.search(r'00_train_b \| b +\| +\| +\| +\| +\| +\| given', DMTRunner(cfg).dry_run())
    runner = DMTRunner(cfg)
    runner.train()
    for name in 'ab':
        record, trained = (run.manifest.record(f'00_train_{name}') for run in (runner, complete))
        assert record['metrics'] == trained['metrics']
        assert os.path.relpath(record['taken_over'], tmp_path) in (tmp_path / 'report.md').read_text()
    assert_same_labels(tmp_path / '01_label_a', complete.work_dir / '01_label_a')
    assert_same_weights(runner.manifest.checkpoint('01_train_b'), complete.work_dir / '01_train_b/iter_4.pth')


def test_split_with_different_lists_for_the_models(folder_config, folder_data, write_image):
    names = [f'pool{index:02d}' for index in range(24)]
    for name in names:
        write_image(folder_data / f'images/{name}.png', np.full((24, 32, 3), 9, np.uint8))
        write_image(
            folder_data / f'masks/{name}.png', np.repeat(np.arange(3, dtype=np.uint8), 8)[:, None].repeat(32, 1)
        )
    (folder_data / 'labeled.txt').write_text('\n'.join(names))
    folder_config.dmt.unlabeled.ann_file = 'labeled.txt'
    folder_config.dmt.split = dict(ratio=2, difference_maximised=0.75)
    runner = DMTRunner(folder_config)
    runner.train(phase='00_train_b')
    lists = {path.stem: path.read_text().split() for path in (runner.work_dir / 'splits').iterdir()}
    assert lists.keys() == {'labeled', 'labeled_a', 'labeled_b', 'unlabeled'}
    assert len(lists['labeled_a']) == len(lists['labeled_b']) == 9
    assert lists['labeled_a'] != lists['labeled_b']
    labeled = {*lists['labeled_a'], *lists['labeled_b']}
    assert len(labeled) == len(lists['unlabeled']) == 12
    assert labeled == set(lists['labeled'])
    assert sorted(labeled | set(lists['unlabeled'])) == names
    cfg = Config.fromfile(runner.work_dir / '00_train_b/00_train_b.py', import_custom_modules=False)
    assert cfg.train_dataloader.dataset.dataset.ann_file == str(runner.work_dir / 'splits/labeled_b.txt')
    assert runner.manifest.record('00_train_b')['labeled'] == 9
    # All later phases learn from all labeled images (Alg. 2, lines 14 and 16).
    for name in ('01_train_a', '01_train_b', '02_train_b'):
        human, _ = runner.data.phases[name].config.train_dataloader.dataset.dataset.datasets
        assert human.ann_file == str(runner.work_dir / 'splits/labeled.txt')
    rows = [[cell.strip() for cell in line.split('|')] for line in DMTRunner(folder_config).dry_run().splitlines()]
    labeled_of = {row[1]: row[5] for row in rows if len(row) > 5}
    assert (labeled_of['00_train_a'], labeled_of['01_train_a'], labeled_of['02_train_b']) == ('9', '12', '12')

    (folder_data / 'labeled.txt').write_text('\n'.join(names[1:]))
    with pytest.raises(ValueError, match=r'splits/.*\.txt was created from another list of images'):
        DMTRunner(folder_config).train(phase='00_train_a')


def test_killed_run_goes_on(complete, tiny_config, tmp_path, root):
    """Killed while it labels, trains and validates, a run redoes only what came after the last file it had written."""
    config, work_dir, train = tmp_path / 'tiny.py', tmp_path / 'run', root / 'tools/train.py'
    tiny_config(work_dir, {'dmt.label_ratios': (0.5,), 'dmt.semi.iters': 8}).dump(config)
    killed(LABEL_STEP, work_dir, '01_label_a', 3, train, config)
    whole = LabelMaps(work_dir / '01_label_a').names()  # other threads may have been killed within an image
    assert 3 <= len(whole) < 6
    kept = mtimes(work_dir, '00*/**/*', *(f'01_label_a/*/{name}.*' for name in whole))
    assert len([path for path in kept if path.name == 'phase.json']) == 2

    killed(TRAIN_STEP, work_dir, '01_train_b', 5, train, config, '--resume')
    assert mtimes(work_dir, '00*/**/*').items() <= kept.items()
    now = mtimes(work_dir, '01_label_a/**/*', '00*/**/*')
    assert kept.items() <= now.items()
    assert_same_labels(work_dir / '01_label_a', complete.work_dir / '01_label_a')
    assert sorted(path.name for path in (work_dir / '01_train_b').glob('*.pth')) == ['iter_2.pth', 'iter_4.pth']

    text = killed(VAL_STEP, work_dir, '01_train_b', 1, train, config, '--resume')
    assert f'Resuming from {work_dir}/01_train_b/iter_4.pth' in text
    log = max((work_dir / '01_train_b').glob('*/*.log')).read_text()  # that of the last attempt
    assert re.findall(r'Iter\(train\) +\[(\d+)/8\]', log) == ['6', '8']
    assert mtimes(work_dir, '01_label_a/**/*', '00*/**/*') == now

    cfg = Config.fromfile(config)
    cfg.resume = True
    runner = DMTRunner(cfg)
    runner.train()
    assert f'Resuming from {work_dir}/01_train_b/iter_8.pth' in (work_dir / 'dmt.log').read_text()
    assert mtimes(work_dir, '01_label_a/**/*', '00*/**/*') == now
    assert all(runner.manifest.is_complete(phase.name) for phase in runner.manifest.phases)
    # The validation that the last kill cut off was made up for.
    assert runner.manifest.record('01_train_b')['metrics']['mIoU'] > 0
    assert (work_dir / 'best.pth').is_file()


def test_two_processes_label_as_one(tiny_config, tmp_path, root):
    """On two processes each of 5 images is labeled once, with the labels that one process makes, bit for bit.

    The two write into archives, one each. The result is then tested on two processes as well.
    """
    options = {**SELF, 'dmt.unlabeled.indices': 5}
    config, together, alone = tmp_path / 'tiny.py', tmp_path / 'together', tmp_path / 'alone'
    tiny_config(together, options | {'dmt.label_writer.archives': True}).dump(config)
    bash = on_two_processes()
    done = bash(root / 'tools/dist_train.sh', config, 2)
    assert done.returncode == 0, done.stdout
    done = bash(root / 'tools/dist_test.sh', config, together / 'best.pth', 2)
    recorded = json.loads((together / '01_train_a/phase.json').read_text())['metrics']['mIoU']
    assert f'mIoU: {recorded:.4f}' in done.stdout
    # The work dir of one process: the same baseline, from which it labels.
    shutil.copytree(together / '00_train_a', alone / '00_train_a')
    shutil.copy(together / 'dmt.json', alone)
    DMTRunner(tiny_config(alone, options)).train(phase='01_label_a')
    assert len(list((together / '01_label_a/archives').iterdir())) == 2
    assert len(labels(alone / '01_label_a')) == 5
    assert_same_labels(together / '01_label_a', alone / '01_label_a')


LOSES_A_PROCESS = """
import os
import signal
from pathlib import Path
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class LosesAProcess(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        lost = Path(__file__).with_name('lost')
        if runner.iter == 1 and get_rank() == 1 and '01_train_a' in runner.work_dir and not lost.exists():
            lost.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_torchrun_starts_lost_processes_again(tiny_config, tmp_path, root):
    """The run ends as one that has lost no process."""
    (tmp_path / 'losing.py').write_text(LOSES_A_PROCESS)
    options = {**SELF, 'dmt.unlabeled.indices': 5, 'custom_hooks': [dict(type='LosesAProcess')]}
    config, bash = tmp_path / 'tiny.py', on_two_processes()
    cfg = tiny_config(tmp_path / 'run', options)
    cfg.custom_imports = dict(imports=['losing'])
    cfg.dump(config)
    env = dict(MAX_RESTARTS='1', PYTHONPATH=str(tmp_path))
    done = bash(root / 'tools/dist_train.sh', config, 2, '--resume', **env)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / 'lost').exists()
    assert 'has lost the connection to another one' in done.stdout
    done = bash(root / 'tools/dist_train.sh', config, 2, '--work-dir', tmp_path / 'whole', **env)
    assert done.returncode == 0, done.stdout
    assert_same_weights(tmp_path / 'run/best.pth', tmp_path / 'whole/best.pth')


def test_stock_train_tool(tiny_config, tmp_path):
    tool = Path(mmseg.__file__).parent / '.mim/tools/train.py'
    if not tool.is_file():
        pytest.skip(f'{tool} is not installed')
    config = tmp_path / 'tiny.py'
    tiny_config(tmp_path / 'unused', SELF).dump(config)
    done = run(tool, config, '--work-dir', tmp_path / 'run')
    assert done.returncode == 0, done.stdout
    assert (tmp_path / 'run/best.pth').is_file()
    assert 'not run' not in (tmp_path / 'run/report.md').read_text()


def test_test_tool(complete, tiny_config, tmp_path, root, monkeypatch):
    """`tools/test.py` on the config of the run, and on that of its result, gives the recorded figure."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    config = tmp_path / 'tiny.py'
    tiny_config(tmp_path / 'work', {}).dump(config)
    recorded = complete.manifest.score(best_phase(complete.manifest, complete.settings.metric), 'mIoU')
    found, test_loop = [], TestLoop.run
    monkeypatch.setattr(TestLoop, 'run', lambda loop: found.append(test_loop(loop)))
    for path in (config, complete.work_dir / 'best.py'):
        arguments = [path, complete.work_dir / 'best.pth', '--work-dir', tmp_path / 'out']
        monkeypatch.setattr(sys, 'argv', ['test.py', *map(str, arguments)])
        runpy.run_path(str(root / 'tools/test.py'), run_name='__main__')
    assert [metrics['mIoU'] for metrics in found] == [recorded, recorded]


@pytest.mark.parametrize('options', [[], ['--tta'], ['--val']], ids=str)
@pytest.mark.parametrize('own', [True, False], ids=['DMT config', 'best.py'])
def test_checkpoint_that_does_not_fit(complete, tiny_config, tmp_path, root, monkeypatch, capsys, own, options):
    """It is refused; of weights with the prefix of a parallel training the figure is the recorded one."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    config = complete.work_dir / 'best.py'
    if own:
        config = tmp_path / 'tiny.py'
        tiny_config(tmp_path / 'work', {}).dump(config)
    best = best_phase(complete.manifest, complete.settings.metric)
    weights = state_dict(complete.work_dir / 'best.pth')
    if own and best.model == 'b':  # weights without metadata are taken for those of the first model
        best = next(phase for phase in complete.manifest.phases if phase.name == '02_train_a')
        weights = state_dict(complete.manifest.checkpoint(best.name))
    torch.save({name: value for name, value in weights.items() if 'decode_head' in name}, tmp_path / 'part.pth')
    torch.save({f'module.{name}': value for name, value in weights.items()}, tmp_path / 'parallel.pth')

    def test(name):
        arguments = [config, tmp_path / name, '--work-dir', tmp_path / 'out', *options]
        monkeypatch.setattr(sys, 'argv', ['test.py', *map(str, arguments)])
        runpy.run_path(str(root / 'tools/test.py'), run_name='__main__')

    with pytest.raises(SystemExit) as caught:
        test('part.pth')
    assert caught.value.code == 2
    assert re.search(r'error: checkpoint .*part\.pth does not fit the model: \d tensors fit, \d+ are missing',
                     capsys.readouterr().err)  # fmt: skip
    test('parallel.pth')


def test_classes_in_another_order_than_in_training(complete, tmp_path, root, monkeypatch, capsys):
    """Every tensor fits, but each prediction would be taken for another class."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    classes = list(DigitScenesDataset.METAINFO['classes'])
    cfg = Config.fromfile(complete.work_dir / 'best.py')
    cfg.test_dataloader.dataset.metainfo = dict(classes=classes[::-1])
    cfg.dump(tmp_path / 'reversed.py')
    arguments = [tmp_path / 'reversed.py', complete.work_dir / 'best.pth', '--work-dir', tmp_path / 'out']
    monkeypatch.setattr(sys, 'argv', ['test.py', *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(root / 'tools/test.py'), run_name='__main__')
    assert caught.value.code == 2
    assert re.search(
        r'error: checkpoint .*best\.pth was trained with the classes .* another order', capsys.readouterr().err
    )
