import pytest
import torch
from torch.nn import functional as F

from mmdmt.core.cross_entropy import cross_entropy_from

SHAPES = [(6, 4), (3, 4, 5), (3, 4, 5, 6), (2, 4, 2, 3, 2)]


def random_pixels(shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    label = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    label[0] = 255
    return logits.to(dtype).requires_grad_(), label


def loss_of(logits, label, ignore_index=255, dtype=torch.float32):
    return cross_entropy_from(logits.detach().log_softmax(1, dtype=dtype), logits, label, ignore_index)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('ignore_index', [255, -100])
def test_values_and_gradients_are_those_of_torch(shape, ignore_index):
    logits, label = random_pixels(shape)
    label = torch.where(label == 255, ignore_index, label)
    factor = torch.randn(label.shape, generator=torch.Generator().manual_seed(1))
    loss = loss_of(logits, label, ignore_index)
    expected = F.cross_entropy(logits, label, ignore_index=ignore_index, reduction='none')
    assert torch.equal(loss, expected)
    (gradient,) = torch.autograd.grad((loss * factor).sum(), logits)
    (expected_gradient,) = torch.autograd.grad((expected * factor).sum(), logits)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-6, rtol=1e-6)
    assert (gradient[0] == 0).all()


@pytest.mark.parametrize('shape', SHAPES)
def test_gradient_by_differences(shape):
    logits, label = random_pixels(shape, torch.float64)
    assert torch.autograd.gradcheck(lambda values: loss_of(values, label, dtype=torch.float64), logits)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_gradient_has_the_dtype_of_the_logits(dtype):
    logits, label = random_pixels((3, 4, 5), dtype)
    expected = logits.detach().float().requires_grad_()
    loss_of(logits, label).sum().backward()
    loss_of(expected, label).sum().backward()
    assert torch.equal(logits.grad, expected.grad.to(dtype))


# torch 2.4 does not tell whether the backward pass may be repeated, so that the buffer is always kept.
TELLS = hasattr(torch._C._autograd, '_get_current_graph_task_keep_graph')


def test_one_backward_pass_takes_the_buffer_and_a_repeatable_one_does_not():
    logits, label = random_pixels((3, 4, 5))
    log_prob, pointers = logits.detach().log_softmax(1), []
    before, inner = log_prob.clone(), logits * 1
    inner.register_hook(lambda gradient: pointers.append(gradient.data_ptr()))
    loss = cross_entropy_from(log_prob, inner, label, 255).sum()
    (first,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (second,) = torch.autograd.grad(loss, logits, retain_graph=True)
    assert torch.equal(log_prob, before)
    (last,) = torch.autograd.grad(loss, logits)
    assert torch.equal(first, second)
    assert torch.equal(first, last)
    assert [pointer == log_prob.data_ptr() for pointer in pointers] == [False, False, TELLS]


def test_the_buffer_is_kept_if_torch_does_not_tell_whether_the_graph_is(monkeypatch):
    monkeypatch.delattr(torch._C._autograd, '_get_current_graph_task_keep_graph', raising=False)
    logits, label = random_pixels((3, 4, 5))
    log_prob = logits.detach().log_softmax(1)
    before = log_prob.clone()
    cross_entropy_from(log_prob, logits, label, 255).sum().backward()
    assert torch.equal(log_prob, before)
    (expected,) = torch.autograd.grad(F.cross_entropy(logits, label, ignore_index=255, reduction='sum'), logits)
    torch.testing.assert_close(logits.grad, expected)


def test_second_derivatives_are_refused():
    logits, label = random_pixels((3, 4, 5))
    for loss in (loss_of(logits, label), loss_of(logits, label) ** 2):
        with pytest.raises(RuntimeError, match='no second derivatives: use create_graph=False'):
            torch.autograd.grad(loss.sum(), logits, create_graph=True)


def test_a_label_that_is_no_class():
    logits, label = random_pixels((3, 4, 5))
    label[1, 0] = 4
    with pytest.raises(IndexError, match='Target 4 is out of bounds'):
        loss_of(logits, label)


def test_an_empty_batch():
    logits = torch.zeros(0, 4, 5, requires_grad=True)
    loss_of(logits, torch.zeros(0, 5).long()).sum().backward()
    assert logits.grad.shape == (0, 4, 5)


@pytest.mark.skipif(not hasattr(torch.compiler, 'is_compiling'), reason='torch 2.1 cannot compile a custom gradient')
def test_compiled_it_is_the_same():
    logits, label = random_pixels((3, 4, 5))
    compiled = torch.compile(loss_of, backend='aot_eager', fullgraph=True)
    gradients = [torch.autograd.grad(function(logits, label).sum(), logits)[0] for function in (loss_of, compiled)]
    assert torch.equal(*gradients)
