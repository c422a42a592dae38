"""Training options that users of mmsegmentation expect take effect in the phases of a DMT run."""

import copy
import json
import multiprocessing
from itertools import pairwise

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.runner import IterBasedTrainLoop
from mmseg.models import EncoderDecoder
from mmseg.models.losses import DiceLoss
from mmseg.registry import MODELS

from mmdmt.core.confidence import encode
from mmdmt.engine import DMTRunner
from mmdmt.engine.amp import enable_amp
from mmdmt.labels.maps import LabelMaps
from tests.steps import CLASSES, LOSS, SELF_TAUGHT, by_hand, checkpoint, pseudo_labeled

CLASS_WEIGHT = [0.3, *(1 + 0.1 * index for index in range(10))]  # none of them exact in bfloat16


@pytest.mark.parametrize('mixed_precision', [False, True])
def test_class_weights(train, calls, mixed_precision):
    """The loss of a step is the hand-computed one; in mixed precision too, from logits of 8 bits."""
    options = {'model.decode_head.loss_decode': dict(LOSS, class_weight=CLASS_WEIGHT)}
    train(options, enable_amp if mixed_precision else lambda cfg: None)
    for phase in ('00_train_a', '01_train_a'):
        assert len(calls.losses[phase]) == 4
        call = calls.losses[phase][-1]
        assert call.logits.dtype == (torch.bfloat16 if mixed_precision else torch.float32)
        total, divisor = by_hand(call, CLASS_WEIGHT)
        assert call.value.item() == pytest.approx(total / divisor, rel=1e-5)
        assert total / divisor != pytest.approx(np.divide(*by_hand(call)), rel=1e-3)
    assert pseudo_labeled(call) > 1000


@pytest.mark.parametrize('thresh', [None, 0.1])
def test_ohem(train, calls, thresh):
    """Of each image of a batch 100 pixels are trained on, or all whose class has a probability under ``thresh``."""
    train({'model.decode_head.sampler': dict(type='OHEMPixelSampler', thresh=thresh, min_kept=100)})
    for phase in ('00_train_a', '01_train_a'):
        # Without a threshold the sampler calls the loss as well, to sort its values.
        call = [call for call in calls.losses[phase] if call.reduction is None][-1]
        assert len(calls.losses[phase]) == (8 if thresh is None else 4)
        valid, chosen = call.label != 255, call.weight == 1
        assert not (chosen & ~valid).any()
        assert ((call.weight == 0) | chosen).all()
        if thresh is None:
            values = calls.losses[phase][-2].value
            assert chosen.sum() == 100 * len(call.label)
            assert values[chosen].min() >= values[valid & ~chosen].max()
        else:
            index = torch.where(valid, call.label, 0)[:, None]
            probability = call.logits.softmax(1).gather(1, index)[:, 0]
            limit = max(thresh, probability[valid].sort().values[100 * len(call.label)].item())
            assert torch.equal(chosen, valid & (probability < limit))
        total, divisor = by_hand(call)
        assert divisor == valid.sum() > chosen.sum() > 0
        assert call.value.item() == pytest.approx(total / divisor, rel=1e-5)


def test_several_losses_in_one_head(train, calls):
    """Dynamic loss and Dice loss are both trained on: the step's loss is their sum, each has its own value."""
    dice = dict(type='DiceLoss', use_sigmoid=False, loss_weight=0.5)
    runner = train({'model.decode_head.loss_decode': [LOSS, dice]})
    call, logged = calls.losses['01_train_a'][-1], calls.log[-1]
    assert call.confidence is not None
    total, divisor = by_hand(call)
    assert logged['decode.loss_dmt'].item() == pytest.approx(total / divisor, rel=1e-5)

    probability = call.logits.double().softmax(1).flatten(1)
    target = torch.stack([call.label == index for index in range(CLASSES)], 1).double().flatten(1)
    overlap = 2 * (probability * target).sum(1) / ((probability**2).sum(1) + (target**2).sum(1) + 2e-3)
    assert logged['decode.loss_dice'].item() == pytest.approx(0.5 * (1 - overlap).mean().item(), rel=1e-5)

    (curve,) = (runner.work_dir / '01_train_a').glob('*/vis_data/scalars.json')
    values = [json.loads(line) for line in curve.read_text().splitlines()]
    values = [line for line in values if 'loss' in line]
    assert values
    for line in values:
        assert line['loss'] == pytest.approx(line['decode.loss_dmt'] + line['decode.loss_dice'], rel=1e-5)
    stock = MODELS.build(Config.fromfile(runner.work_dir / 'best.py').model)
    assert [type(loss).__name__ for loss in stock.decode_head.loss_decode] == ['CrossEntropyLoss', 'DiceLoss']
    assert isinstance(stock.decode_head.loss_decode[1], DiceLoss)


def test_gradient_accumulation(train, calls):
    """Weights move at every second step, and at the last one; a step's loss counts half."""
    # Without a schedule: at its end the learning rate is 0.
    train({'optim_wrapper.accumulative_counts': 2, 'dmt.semi.iters': 5, 'param_scheduler': []})
    assert calls.steps == ['00_train_a'] * 2 + ['01_train_a'] * 3
    for phase, moves in (('00_train_a', [False, True, False, True]), ('01_train_a', [False, True, False, True, True])):
        weights = [state['decode_head.conv_seg.weight'] for state in (calls.starts[phase], *calls.states[phase])]
        assert [not torch.equal(*pair) for pair in pairwise(weights)] == moves


def test_interrupted_gradient_accumulation(tiny_config, tmp_path, monkeypatch):
    """A run goes on from a step at which no gradient was under way."""
    options = {**SELF_TAUGHT, 'optim_wrapper.accumulative_counts': 3, 'dmt.supervised.iters': 14}
    run_iter, count = IterBasedTrainLoop.run_iter, []

    def interrupted(self, data_batch):
        count.append(1)
        if len(count) == 9:
            raise KeyboardInterrupt
        run_iter(self, data_batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(IterBasedTrainLoop, 'run_iter', interrupted)
        DMTRunner(tiny_config(tmp_path, options)).train()
    assert sorted(path.name for path in (tmp_path / '00_train_a').glob('*.pth')) == ['iter_3.pth', 'iter_6.pth']
    DMTRunner(tiny_config(tmp_path, {**options, 'resume': True})).train(phase='00_train_a')
    log = '\n'.join(path.read_text() for path in (tmp_path / '00_train_a').glob('*/*.log'))
    assert 'resumed epoch: 0, iter: 6' in log
    assert 'not divisible' not in log


def test_ema(train, calls):
    """The average of the weights is validated, labels images, and is what the next phase starts from."""
    runner = train({
        'custom_hooks': [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.25, update_buffers=True)]
    })  # fmt: skip
    for phase in ('00_train_a', '01_train_a'):
        first, *others = calls.states[phase]
        expected = {name: value.clone() for name, value in first.items() if value.is_floating_point()}
        for state in others:
            for name in expected:
                expected[name] = 0.75 * expected[name] + 0.25 * state[name]
        found = checkpoint(runner, phase)
        raw = others[-1]
        for name, value in expected.items():
            torch.testing.assert_close(found['state_dict'][name], value, rtol=1e-4, atol=1e-6)
            assert torch.equal(found['ema_state_dict'][f'module.{name}'], raw[name])
        assert not torch.allclose(found['state_dict']['backbone.conv1.weight'], raw['backbone.conv1.weight'], rtol=1e-3)
    averaged = checkpoint(runner, '00_train_a')['state_dict']
    for phase in ('01_label_a', '01_train_a'):
        assert all(torch.equal(value, averaged[name]) for name, value in calls.starts[phase].items())
    best, last = torch.load(runner.work_dir / 'best.pth', weights_only=False), checkpoint(runner, '01_train_a')
    assert all(torch.equal(value, last['state_dict'][name]) for name, value in best['state_dict'].items())


def test_sliding_window(train, monkeypatch):
    """Windows are what labels images and validates; the labels are those of windows put together by hand."""
    calls, slide = [], EncoderDecoder.slide_inference
    monkeypatch.setattr(EncoderDecoder, 'slide_inference', lambda self, *args: calls.append(1) or slide(self, *args))
    runner = train({'model.test_cfg': dict(mode='slide', crop_size=(40, 40), stride=(24, 24))})
    validations = 2 * 1  # two phases, one batch of 4 images
    assert len(calls) == 6 + validations

    cfg = Config.fromfile(runner.work_dir / '01_label_a/01_label_a.py', import_custom_modules=False)
    model = MODELS.build(cfg.model).eval()
    model.load_state_dict(checkpoint(runner, '00_train_a')['state_dict'])
    store = LabelMaps(runner.work_dir / '01_label_a')
    dataset = DATASETS.build(copy.deepcopy(cfg.test_dataloader.dataset))
    sample = dataset[2]
    with torch.no_grad():
        batch = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']])
        image = model.data_preprocessor(batch)['inputs']
        assert image.shape[2:] == (64, 64)
        total, count = torch.zeros(1, CLASSES, 64, 64), torch.zeros(64, 64)
        for top in (0, 24):
            for left in (0, 24):
                window = (..., slice(top, top + 40), slice(left, left + 40))
                total[window] += model.encode_decode(image[window], [dict(img_shape=(40, 40))])
                count[window] += 1
    assert count.max() == 4
    label, code = encode(total / count)
    found = store.read(dataset.name(2))
    assert (found[0] == label[0].numpy()).all()
    assert np.abs(found[1].astype(int) - code[0].numpy()).max() <= 1  # a last bit may round otherwise


def test_workers_end_by_themselves(train, monkeypatch):
    """A phase's end does not wait for the workers of its loaders: none has to be killed, after 5 seconds each."""
    killed = []
    terminate = multiprocessing.Process.terminate
    monkeypatch.setattr(multiprocessing.Process, 'terminate', lambda self: killed.append(self) or terminate(self))
    workers = {
        f'{loader}_dataloader.{key}': value
        for loader in ('train', 'val', 'test')
        for key, value in dict(num_workers=1, persistent_workers=True).items()
    }
    train(workers)
    assert not killed
    assert not multiprocessing.active_children()
