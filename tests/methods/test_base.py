import copy
import re

import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from mmdmt.methods.base import SemiSupervised, joined, others
from tests.methods.conftest import AUXILIARY, SEGMENTOR, STOCK, moved_by, total


def states_equal(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture
def wrap(build):
    """``wrap(model, ...)``: the base class itself, which learns from labeled images only."""

    def make(model=SEGMENTOR, **arguments):
        with_teacher = 'teacher_momentum' in arguments
        method = SemiSupervised.__new__(SemiSupervised)
        SemiSupervised.__init__(method, copy.deepcopy(model), **arguments)
        method.init_weights()
        assert (method.teacher is not None) == with_teacher
        return method.train()

    return make


@pytest.fixture(autouse=True)
def scope():
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def test_losses_on_labeled_images_are_those_of_the_stock_model(wrap, view):
    method = wrap(dict(SEGMENTOR, auxiliary_head=AUXILIARY))
    labeled = view('pixels', 2, True)
    expected = copy.deepcopy(method.student).loss(*labeled)
    losses = method.loss(labeled)
    assert losses.keys() == expected.keys()
    assert all(torch.equal(losses[key], expected[key]) for key in losses)
    halved = method.supervised_loss(labeled, 0.5)
    assert total(halved).item() == pytest.approx(total(expected).item() / 2, rel=1e-6)
    torch.testing.assert_close(halved['decode.acc_seg'], losses['decode.acc_seg'])


def test_the_teacher_starts_as_the_student_and_follows_it(wrap, view):
    method = wrap(teacher_momentum=0.9, warm=False)
    assert states_equal(method.student, method.teacher)
    before = method.teacher.decode_head.conv_seg.weight.clone()
    with torch.no_grad():
        method.student.decode_head.conv_seg.weight.add_(1)
    method.after_step()
    torch.testing.assert_close(method.teacher.decode_head.conv_seg.weight, before + 0.1)
    assert moved_by(method, total(method.loss(view('pixels', 2, True)))) == {'student'}
    assert not any(weight.requires_grad for weight in method.teacher.parameters())  # no optimizer gets them


@pytest.mark.parametrize(
    ('name', 'task'),
    [('CrossPseudo', 'images'), ('DeepCoTraining', 'images'), ('DualStudent', 'images')],
)
def test_a_stock_checkpoint_leaves_the_heads_of_a_second_network(build, name, task):
    """Both would be equal otherwise, and learn nothing from each other."""
    method, stock = build(name, STOCK[task]), build(None, STOCK[task]).state_dict()
    before = {key: value.clone() for key, value in method.second.state_dict().items()}
    method.load_state_dict(dict(stock))  # strictly
    student, second = method.student.state_dict(), method.second.state_dict()
    heads = [key for key in stock if key.startswith(('decode_head.', 'head.'))]
    assert all(torch.equal(student[key], value) for key, value in stock.items())
    assert all(torch.equal(second[key], before[key] if key in heads else stock[key]) for key in stock)
    assert any(not torch.equal(second[key], stock[key]) for key in heads)


AVERAGES = [
    ('FixMatch', 'images', {}, 0.1, 0.1),
    ('MixMatch', 'images', {}, 0.1, 0.1),
    ('MeanTeacher', 'images', {}, 0.1, 0.0),
    ('MeanTeacher', 'pixels', dict(warm=True), 1.0, 0.0),
    ('CutMixSeg', 'pixels', {}, 0.1, 0.1),
    ('UniMatch', 'pixels', dict(teacher='average'), 1.0, 1.0),
]


@pytest.mark.parametrize(('name', 'task', 'arguments', 'weight', 'statistic'), AVERAGES)
def test_each_average_is_that_of_its_paper(build, name, task, arguments, weight, statistic):
    """How far weights and statistics of batch norm follow in the first step; a warm average copies."""
    method = build(name, STOCK[task], teacher_momentum=0.9, **arguments)
    student, teacher = (
        next(part for part in network.modules() if isinstance(part, nn.BatchNorm2d))
        for network in (method.student, method.teacher)
    )
    with torch.no_grad():
        student.weight.add_(1)
        student.running_mean.add_(1)
    method.after_step()
    torch.testing.assert_close(teacher.weight - student.weight + 1, torch.full_like(teacher.weight, weight))
    torch.testing.assert_close(teacher.running_mean, torch.full_like(teacher.running_mean, statistic))


def test_a_warm_teacher_copies_the_first_step_and_counts_in_its_state(wrap):
    method = wrap(teacher_momentum=0.9)
    weight, average = (network.decode_head.conv_seg.weight for network in (method.student, method.teacher))
    values = [1.0, 3.0, 8.0]
    for value in values:
        with torch.no_grad():
            weight.fill_(value)
        method.after_step()
    torch.testing.assert_close(average, torch.full_like(average, 4.0))
    resumed = wrap(teacher_momentum=0.9)
    resumed.load_state_dict(method.state_dict())
    assert int(resumed.averaged) == 3


def test_modes_of_the_networks(wrap):
    method = wrap(teacher_momentum=0.9)
    assert method.student.training
    assert not method.teacher.training
    method.eval()
    method.train()
    assert not method.teacher.training
    method.teacher_trains = True
    assert method.train().teacher.training


@pytest.mark.parametrize('load', [lambda own, state: own.load_state_dict(state), load_state_dict])
def test_a_stock_checkpoint_loads_into_all_networks(wrap, build, load):
    stock, method = build(None, SEGMENTOR), wrap(teacher_momentum=0.9)
    assert not states_equal(stock, method.student)
    load(method, stock.state_dict())
    assert states_equal(stock, method.student)
    assert states_equal(stock, method.teacher)
    own = wrap(teacher_momentum=0.9)
    load(own, method.state_dict())
    assert states_equal(own, method)


def test_the_second_network_keeps_its_own_heads(build):
    stock, method = build(None, SEGMENTOR), build('CrossPseudo', SEGMENTOR)
    assert not torch.equal(method.student.decode_head.conv_seg.weight, method.second.decode_head.conv_seg.weight)
    before = copy.deepcopy(method.second.decode_head)
    method.load_state_dict(stock.state_dict())
    assert states_equal(stock, method.student)
    assert states_equal(stock.backbone, method.second.backbone)
    assert states_equal(before, method.second.decode_head)


@pytest.mark.parametrize('momentum', [None, 0.9])
def test_predictions_and_the_exported_weights_are_those_of_a_stock_model(wrap, build, view, momentum):
    method = wrap(**({} if momentum is None else dict(teacher_momentum=momentum)))
    method.predictor.decode_head.conv_seg.weight.data.normal_()
    prefix = method.predictor_prefix
    assert prefix == ('student.' if momentum is None else 'teacher.')
    weights = {key.removeprefix(prefix): value for key, value in method.state_dict().items() if key.startswith(prefix)}
    stock = build(None, SEGMENTOR)
    stock.load_state_dict(weights)  # strictly
    images, method = view('pixels', 1).images, method.eval()
    (own,), (expected,) = method(images, None, 'predict'), stock.eval()(images, None, 'predict')
    assert torch.equal(own.seg_logits.data, expected.seg_logits.data)
    assert torch.equal(method(images), stock(images))


def test_a_missing_view_is_named(build, view):
    method, labeled = build('FixMatch', SEGMENTOR), view('pixels', 1, True)
    batch = dict(inputs=labeled.images, data_samples=labeled.samples)
    with pytest.raises(ValueError, match=r"^FixMatch needs the view 'strong'; the pipelines give 'labeled', 'weak' "):
        method(labeled=batch, weak=batch, mode='loss')
    assert method.views == ('labeled', 'weak', 'strong')


def test_valid_pixels_by_padding_and_by_label_map(view):
    padded = view('pixels', 1, size=(3, 4), padding=(0, 1, 0, 2))
    assert padded.valid.int().tolist() == [[[1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]]
    marked = view('pixels', 1, labeled=True)
    assert torch.equal(marked.valid[0], marked.samples[0].gt_sem_seg.data[0] != 255)
    assert not marked.valid.all()


@pytest.mark.parametrize('momentum', [0.0, 1.0, 1.5, -0.1])
def test_momentum_outside_its_range(wrap, momentum):
    with pytest.raises(ValueError, match=rf'teacher_momentum={momentum} must be above 0 and below 1$'):
        wrap(teacher_momentum=momentum)


@pytest.mark.parametrize('name', ['OnlineST', 'UniMatch', 'CutMixSeg'])
def test_a_method_of_the_other_toolbox(build, name):
    with pytest.raises(ValueError, match=rf'^{name} is a method for segmentation; its model is for classification$'):
        build(name, STOCK['images'])


def test_a_method_in_a_method(build):
    with pytest.raises(ValueError, match=re.escape('MeanTeacher: model is already a method, FixMatch')):
        build('MeanTeacher', dict(type='FixMatch', model=copy.deepcopy(SEGMENTOR)))


def test_a_model_that_is_no_config(build):
    with pytest.raises(ValueError, match="FixMatch: model must be the config of a stock model, got 'fcn'"):
        SemiSupervised._build(build('FixMatch', SEGMENTOR), 'fcn')


def test_others_are_the_predecessors():
    assert others(torch.tensor([1, 2, 3])).tolist() == [3, 1, 2]
    with pytest.raises(ValueError, match='unlabeled_per_batch must be at least 2, got 1'):
        others(torch.tensor([1]))


def test_one_batch_of_views_needs_one_size(view):
    first, second = view('pixels', 2), view('pixels', 3)
    assert torch.equal(joined(first, second), torch.cat([first.images, second.images]))
    with pytest.raises(ValueError, match=r'must have one size to be one batch, got \[\(12, 16\), \(12, 20\)\]: '):
        joined(first, view('pixels', 1, size=(12, 20)))
