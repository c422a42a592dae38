import numpy as np
import pytest
import torch

from tests.methods.conftest import CLASSIFIER, moved_by, sharpened, total


@pytest.fixture
def make(build):
    def make(**arguments):
        method = build('MixMatch', CLASSIFIER, **arguments)
        sharpened(method.student, 1.0)
        return method

    return make


def test_loss_by_hand(make, views):
    """All draws repeated with the same seeds, image by image."""
    method = make(temperature=0.5, alpha=0.75, weight=10.0, ramp=0.5)
    method.set_progress(0.2)
    method.student.eval()
    batch = views(method, 'images', 3)
    pool = torch.cat([view.images for view in batch.values()])
    first, second = (method.logits(method.student, batch[name]).double().softmax(1) for name in ('first', 'second'))
    guesses = ((first + second) / 2) ** 2
    guesses = guesses / guesses.sum(1, keepdim=True)
    labels = [int(sample.gt_label) for sample in batch['labeled'].samples]
    targets = [*np.eye(3)[labels], *guesses.tolist(), *guesses.tolist()]
    np.random.seed(5)
    torch.manual_seed(5)
    shares, partners = np.random.beta(0.75, 0.75, 9), torch.randperm(9).tolist()
    losses = [0.0, 0.0]
    for index in range(9):
        own = max(shares[index], 1 - shares[index])
        image = own * pool[index] + (1 - own) * pool[partners[index]]
        target = own * np.array(targets[index]) + (1 - own) * np.array(targets[partners[index]])
        logits = method.logits(method.student, image[None].float())[0].double().detach()
        if index < 3:
            losses[0] -= (target * logits.log_softmax(0).numpy()).sum() / 3
        else:
            losses[1] += ((logits.softmax(0).numpy() - target) ** 2).sum() / (6 * 3)
    np.random.seed(5)
    torch.manual_seed(5)
    found = method.loss(**batch)
    assert found['loss_labeled'].item() == pytest.approx(losses[0], rel=1e-4)
    assert found['loss_unlabeled'].item() == pytest.approx(10 * 0.4 * losses[1], rel=1e-4)


def test_guesses_by_hand(make, view, monkeypatch):
    method = make(temperature=0.5)
    outputs = iter([torch.tensor([[0.7, 0.2, 0.1]]).log(), torch.tensor([[0.3, 0.4, 0.3]]).log()])
    monkeypatch.setattr(method, 'logits', lambda network, view: next(outputs))
    guess = method._guess(*[view('images', 1)] * 2)
    torch.testing.assert_close(guess, torch.tensor([[25.0, 9.0, 4.0]]) / 38)


def test_unlabeled_loss_moves_the_student_only(make, views):
    method = make(ramp=0.0)
    assert moved_by(method, method.loss(**views(method, 'images'))['loss_unlabeled']) == {'student'}


def test_guesses_leave_no_trace_in_batch_norm(make, views):
    method = make()
    method.loss(**views(method, 'images'))
    counts = {int(value) for name, value in method.student.state_dict().items() if name.endswith('batches_tracked')}
    assert counts == {1}


def test_the_weight_rises_linearly(make, views):
    method, found = make(ramp=0.5), []
    method.student.eval()
    batch = views(method, 'images')
    for progress in (0.0, 0.25, 0.5, 1.0):
        method.set_progress(progress)
        np.random.seed(0)
        torch.manual_seed(0)
        found.append(method.loss(**batch)['loss_unlabeled'].item())
    assert found[:3] == pytest.approx([0, found[3] / 2, found[3]])
    assert found[3] > 0


def test_bfloat16(make, views):
    method = make(ramp=0.0)
    with torch.autocast('cpu', torch.bfloat16):
        losses = method.loss(**views(method, 'images'))
    assert {value.dtype for value in losses.values()} == {torch.float32}
    total(losses).backward()
    assert all(weight.grad is not None for weight in method.student.parameters())


@pytest.mark.parametrize('argument', [dict(temperature=0.0), dict(alpha=0.0), dict(weight=-1.0), dict(ramp=-0.1)])
def test_arguments_outside_their_range(build, argument):
    ((name, value),) = argument.items()
    with pytest.raises(ValueError, match=rf'^MixMatch: {name}={value} must be '):
        build('MixMatch', CLASSIFIER, **argument)
