import json
from importlib.metadata import version

from mmengine.registry import init_default_scope

from mmdmt.analysis.run_notes import command, versions, write_notes
from mmdmt.engine.plan import RunPlan
from mmdmt.engine.run_data import RunData
from mmdmt.installation import installed_versions


def test_notes(tiny_config, tmp_path):
    init_default_scope('mmseg')
    cfg = tiny_config(tmp_path / 'run')
    run_plan = RunPlan.of(cfg)
    data = RunData(run_plan, tmp_path / 'run')
    data.prepare(tmp_path / 'run/splits')
    write_notes(run_plan, data, tmp_path, own=False)
    before = json.loads((tmp_path / 'run_notes.json').read_text())
    assert 'commands' not in before
    data.check()
    write_notes(run_plan, data, tmp_path)
    notes = json.loads((tmp_path / 'run_notes.json').read_text())
    assert len(notes['commands']) == 1
    assert notes['versions']['torch'] == version('torch')
    assert notes['classes'][:2] == ['background', 'digit 0']
    assert notes['palette'][1] == [31, 119, 180]
    assert notes['images']['a'] == dict(labeled=dict(supervised=4, semi=4), unlabeled=6)
    assert notes['steps'] == dict.fromkeys([phase.name for phase in run_plan.phases if phase.kind == 'train'], 4)
    assert notes['gammas'] == dict(a=['gamma1=2.0 gamma2=2.0'], b=['gamma1=2.0 gamma2=2.0'])
    assert sum(notes['class_counts']['labeled']) <= 4 * 64 * 64


def test_command_has_no_folder_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [
        f'{tmp_path}/tools/train.py',
        'configs/x.py',
        '--work-dir',
        '/somewhere/else/run',
        '--cfg-options',
        'data_root=/disk/voc',
        'a.b=1',
    ]
    assert command(words) == 'tools/train.py configs/x.py --work-dir run --cfg-options data_root=voc a.b=1'


def test_versions_name_installed_packages_only():
    found = versions()
    assert {'python', 'torch', 'numpy'} <= found.keys()
    assert installed_versions().items() <= found.items()
    assert all(found.values())
