import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from mmdmt.engine.evaluation import check_evaluation, evaluation_config
from mmdmt.engine.plan import RunPlan
from mmdmt.errors import MissingFileError, UserError


@pytest.fixture
def check(folder_config):
    """``check(subset)``: check the config of model a."""
    init_default_scope('mmseg')

    def check(subset='test'):
        plan = RunPlan.of(folder_config)
        check_evaluation(plan, plan.configs['a'][None], 'a', subset)

    return check


@pytest.mark.parametrize('subset', ['test', 'val'])
@pytest.mark.parametrize('part', ['dataloader', 'evaluator'])
def test_nothing_to_evaluate(check, folder_config, subset, part):
    check(subset)
    folder_config[f'{subset}_{part}'] = None
    with pytest.raises(UserError, match=rf'^the config has no {subset}_{part}, so there is nothing to {subset}$'):
        check(subset)


def test_masks_are_checked(check, folder_data, folder_config, write_image):
    write_image(folder_data / 'masks/val0.png', np.full((24, 32), 1, np.uint8))
    check()  # one class only is no mistake in a test
    write_image(folder_data / 'masks/val1.png', np.full((24, 32), 3, np.uint8))
    with pytest.raises(UserError, match=r'^test_dataloader\.dataset: mask .*val1\.png holds label\(s\) \[3\]'):
        check()
    (folder_data / 'masks/val1.png').unlink()
    with pytest.raises(MissingFileError, match=r'^test_dataloader\.dataset: image .*val1\.png has no mask'):
        check()
    writer = dict(type='PredictedMaps', out='out')
    for evaluator in (dict(type='IoUMetric', format_only=True), [writer]):
        folder_config.test_evaluator = evaluator
        check()
    folder_config.test_evaluator = [writer, dict(type='IoUMetric')]
    with pytest.raises(MissingFileError, match='has no mask'):
        check()


def test_folder_that_does_not_exist(check, folder_config):
    folder_config.test_dataloader.dataset.data_root = 'elsewhere'
    with pytest.raises(
        MissingFileError, match=r"^test_dataloader\.dataset: ann_file 'elsewhere/val\.txt' does not exist"
    ):
        check()


def test_model_of_the_checkpoint(folder_config, tmp_path):
    """That of its mark; without one, the first. The weights of a method's predictor are taken out."""
    init_default_scope('mmseg')
    folder_config.load_from = str(tmp_path / 'x.pth')
    plan = RunPlan.of(folder_config)
    with pytest.raises(MissingFileError, match=r'^checkpoint .*x\.pth does not exist$'):
        evaluation_config(plan, tmp_path, 'test')
    for mark, channels, name in (
        ({}, 32, 'x.pth'),
        (dict(model='b'), 24, 'x.pth'),
        (dict(model='a', predictor_prefix='student.'), 32, 'predictor_x.pth'),
    ):
        torch.save(dict(state_dict={'student.w': torch.ones(1)}, meta=dict(dmt=mark)), tmp_path / 'x.pth')
        cfg = evaluation_config(plan, tmp_path, 'test')
        assert cfg.model.decode_head.channels == channels
        assert cfg.load_from == str(tmp_path / name)
        assert [hook.type for hook in cfg.custom_hooks] == ['FitHook']
    assert list(torch.load(cfg.load_from)['state_dict']) == ['w']
