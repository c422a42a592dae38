import pytest
import torch

from mmdmt.engine import DMTRunner
from mmdmt.engine.hooks.kernel_search_hook import KernelSearchHook
from mmdmt.engine.screen_runner import ScreenRunner
from tests.steps import SELF_TAUGHT


@pytest.fixture(autouse=True)
def searching():
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    yield
    torch.backends.cudnn.benchmark = before


def batch(*sizes):
    return dict(inputs=[torch.zeros(3, *size) for size in sizes])


@pytest.mark.parametrize('kind', ['val', 'test'])
def test_search_ends_at_the_third_size(kind):
    hook = KernelSearchHook()
    getattr(hook, f'before_{kind}')(None)
    look = getattr(hook, f'before_{kind}_iter')
    searches = []
    for sizes in ([(8, 8)], [(8, 8), (8, 9)], [(8, 8)], [(9, 8)], [(8, 8)]):
        look(None, batch_idx=0, data_batch=batch(*sizes))
        searches.append(torch.backends.cudnn.benchmark)
    assert searches == [True, True, True, False, False]
    getattr(hook, f'after_{kind}')(None)
    assert torch.backends.cudnn.benchmark
    getattr(hook, f'before_{kind}')(None)
    look(None, batch_idx=0, data_batch=batch((8, 8)))
    assert torch.backends.cudnn.benchmark


def test_batch_as_one_tensor_has_one_size():
    hook = KernelSearchHook()
    hook.before_val(None)
    for number in range(4):
        hook.before_val_iter(None, number, dict(inputs=torch.zeros(2, 3, 8, 8)))
    assert torch.backends.cudnn.benchmark


def test_a_search_that_was_off_stays_off():
    torch.backends.cudnn.benchmark = False
    hook = KernelSearchHook()
    hook.before_test(None)
    hook.after_test(None)
    assert not torch.backends.cudnn.benchmark


def test_phases_of_a_run_have_it(tiny_config, tmp_path, monkeypatch):
    registered = []
    register = ScreenRunner.register_hook
    monkeypatch.setattr(
        ScreenRunner, 'register_hook', lambda self, hook, **kw: (registered.append(hook), register(self, hook, **kw))
    )
    cfg = tiny_config(tmp_path, {**SELF_TAUGHT, 'env_cfg': dict(cudnn_benchmark=True)})
    runner = DMTRunner(cfg)
    runner.train()
    trained = [phase for phase in runner.manifest.phases if phase.kind == 'train']  # label phases never search
    assert sum(isinstance(hook, KernelSearchHook) for hook in registered) == len(trained)
