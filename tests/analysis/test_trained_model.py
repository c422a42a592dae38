import torch
from mmengine.registry import init_default_scope

from mmdmt.analysis.trained_model import trained_model
from mmdmt.engine.manifest import Manifest
from mmdmt.engine.model_checks import check_model
from mmdmt.engine.plan import RunPlan


def test_weights_and_settings_are_those_of_the_phase(tiny_config, tmp_path):
    """Model b has another width and normalization than the top of the config."""
    init_default_scope('mmseg')
    plan = RunPlan.of(tiny_config(tmp_path))
    manifest = Manifest(tmp_path, plan.phases)
    phase = next(phase for phase in plan.phases if phase.model == 'b')
    own = check_model(plan.configs['b'][None]['model'], 'dmt.models.b')
    folder = manifest.folder(phase.name)
    folder.mkdir()
    torch.save(dict(meta={}, state_dict=own.state_dict()), folder / 'iter_4.pth')
    (folder / 'phase.json').write_text('{"checkpoint": "iter_4.pth"}')
    model = trained_model(plan, manifest, phase, 'semi')
    assert not model.training
    assert all(torch.equal(value.cpu(), own.state_dict()[name]) for name, value in model.state_dict().items())
    assert model.data_preprocessor.mean.flatten().tolist() == [104.0, 117.0, 123.0]
    assert model.dynamic_loss.weighs
