import math

import pytest
import torch

from tests.methods.conftest import SEGMENTOR, STOCK, moved_by, sharpened, total


def apart(method):
    """Make the teacher differ from the student."""
    sharpened(method.teacher, 1.0)
    sharpened(method.student, 1.0)
    return method


@pytest.mark.parametrize('distance', ['probability', 'logit'])
@pytest.mark.parametrize('task', STOCK)
def test_loss_by_hand(build, views, task, distance):
    method = apart(build('MeanTeacher', STOCK[task], distance=distance, weight=7.0, ramp=0.5))
    batch = views(method, task, **(dict(padding=(0, 3, 0, 2)) if task == 'pixels' else {}))
    outputs = []
    for name, network in (('teacher_view', method.teacher), ('student_view', method.student)):
        network.eval()
        logits = method.logits(network, batch[name]).detach().double()
        outputs.append(logits.exp() / logits.exp().sum(1, keepdim=True) if distance == 'probability' else logits)
    valid = batch['student_view'].valid if task == 'pixels' else torch.ones(2, dtype=torch.bool)
    differences = [
        (outputs[0].movedim(1, -1)[index] - outputs[1].movedim(1, -1)[index]).square().mean().item()
        for index in map(tuple, valid.nonzero().tolist())
    ]
    method.set_progress(0.25)
    expected = 7 * math.exp(-5 * 0.25) * sum(differences) / len(differences)
    losses = method.loss(**batch)
    assert losses['loss_consistency'].item() == pytest.approx(expected, rel=1e-5)
    assert expected > 0
    assert total(losses).item() > losses['loss_consistency'].item()


@pytest.mark.parametrize('task', STOCK)
def test_unlabeled_loss_moves_the_student_only(build, views, task):
    method = apart(build('MeanTeacher', STOCK[task], ramp=0.0))
    assert moved_by(method, method.loss(**views(method, task))['loss_consistency']) == {'student'}


def test_the_teacher_sees_its_own_view_and_the_student_the_other_one(build, views):
    method = apart(build('MeanTeacher', SEGMENTOR, ramp=0.0))
    batch = views(method, 'pixels')
    batch['student_view'].images.requires_grad_()
    batch['teacher_view'].images.requires_grad_()
    method.loss(**batch)['loss_consistency'].backward()
    assert batch['student_view'].images.grad.abs().sum() > 0
    assert batch['teacher_view'].images.grad is None


def test_equal_networks_and_views_agree(build, views):
    method = build('MeanTeacher', SEGMENTOR, ramp=0.0)
    batch = views(method, 'pixels')
    batch['student_view'] = batch['teacher_view']
    assert method.loss(**batch)['loss_consistency'].item() == pytest.approx(0, abs=1e-10)


def test_both_networks_are_in_training_mode_with_statistics_of_their_own(build, views):
    method = build('MeanTeacher', SEGMENTOR)
    assert method.teacher.training
    batch = views(method, 'pixels')
    batch['teacher_view'].images.mul_(3)
    method.loss(**batch)
    own = [network.backbone.bn1.running_var.clone() for network in (method.student, method.teacher)]
    assert not torch.allclose(*own)
    method.after_step()
    assert torch.equal(method.teacher.backbone.bn1.running_var, own[1])


def test_bfloat16(build, views):
    method = apart(build('MeanTeacher', SEGMENTOR, ramp=0.0))
    with torch.autocast('cpu', torch.bfloat16):
        losses = method.loss(**views(method, 'pixels'))
    assert losses['loss_consistency'].dtype == torch.float32
    assert moved_by(method, losses['loss_consistency']) == {'student'}


@pytest.mark.parametrize(
    'argument', [dict(distance='kl'), dict(weight=-1.0), dict(ramp=1.5), dict(teacher_momentum=1.0)]
)
def test_arguments_outside_their_range(build, argument):
    ((name, value),) = argument.items()
    with pytest.raises(ValueError, match=rf'^MeanTeacher: {name}={value!r} must be '):
        build('MeanTeacher', SEGMENTOR, **argument)
