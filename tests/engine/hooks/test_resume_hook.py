from types import SimpleNamespace

import torch
from mmengine.hooks import EarlyStoppingHook
from torch import nn

from mmdmt.engine.hooks import ResumeHook, resume_hook


def runner(*hooks, resume=True):
    return SimpleNamespace(hooks=[ResumeHook(), *hooks], _resume=resume, model=nn.BatchNorm1d(2))


def stopping(wait_count=0, best_score=0.0):
    hook = EarlyStoppingHook(monitor='mIoU')
    hook.wait_count, hook.best_score = wait_count, best_score
    return hook


def test_early_stopping_goes_on_counting():
    checkpoint = {}
    ResumeHook().before_save_checkpoint(runner(stopping(2, 61.5), stopping(0, 3.0)), checkpoint)
    fresh = [stopping(), stopping()]
    ResumeHook().after_load_checkpoint(runner(*fresh), checkpoint)
    assert [(hook.wait_count, hook.best_score) for hook in fresh] == [(2, 61.5), (0, 3.0)]


def test_another_phase_starts_counting_anew():
    fresh = stopping()
    ResumeHook().after_load_checkpoint(runner(fresh, resume=False), {'early_stopping': [[2, 61.5]]})
    ResumeHook().after_load_checkpoint(runner(fresh), {})
    assert (fresh.wait_count, fresh.best_score) == (0, 0.0)


def test_state_fits_the_strict_loader(tmp_path):
    checkpoint = {}
    ResumeHook().before_save_checkpoint(runner(stopping(1, 5.0)), checkpoint)
    torch.save(checkpoint, tmp_path / 'x.pth')
    assert torch.load(tmp_path / 'x.pth', weights_only=True) == {'early_stopping': [[1, 5.0]]}


def test_buffers_of_the_first_process_are_validated(monkeypatch):
    sent = []
    ResumeHook().before_val_epoch(runner())  # alone
    monkeypatch.setattr(resume_hook, 'is_distributed', lambda: True)
    monkeypatch.setattr(resume_hook, 'broadcast', sent.append)
    one = runner()
    ResumeHook().before_val_epoch(one)
    assert len(sent) == 3
    assert all(buffer is own for buffer, own in zip(sent, one.model.buffers(), strict=True))
