"""The Snakefile of docs/clusters.md: its expressions are evaluated, and Snakemake plans it where it is installed."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
SNAKEFILE = re.search(r'```python\n(# Snakefile.*?)```', (ROOT / 'docs/clusters.md').read_text(), re.DOTALL)[1]
ROUNDS = 5
RECORD = 'work_dirs/fcn_digits/{}/phase.json'


@pytest.fixture
def rules(monkeypatch):
    """Rule -> directive -> value, of those that are expressions."""
    monkeypatch.chdir(ROOT)
    head, *parts = re.split(r'^rule (\w+):\n', SNAKEFILE, flags=re.MULTILINE)
    names = {}
    exec(head, names)
    found = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        directives = re.findall(r'^    (input|output|shell): (.*)$', body, re.MULTILINE)
        found[name] = {key: eval(value, names) for key, value in directives}
    return found


def test_a_phase_needs_the_records_of_those_before(rules):
    inputs = rules['phase']['input']
    assert inputs(SimpleNamespace(phase='00_train_a')) == []
    assert inputs(SimpleNamespace(phase='02_train_b')) == [RECORD.format('01_train_b'), RECORD.format('02_label_a')]
    assert rules['phase']['output'] == RECORD.format('{phase}')
    run = 'python tools/train.py configs/dmt/fcn_digits.py --work-dir work_dirs/fcn_digits --resume'
    assert (rules['result']['shell'], rules['phase']['shell']) == (run, run + ' --phase {wildcards.phase}')


def test_the_result_needs_all_phases(rules):
    phases = ['00_train_a', '00_train_b']
    for number in range(1, ROUNDS + 1):
        phases += [f'{number:02d}_{kind}' for kind in ('label_a', 'train_b', 'label_b', 'train_a')]
    assert rules['result']['input'] == [RECORD.format(name) for name in phases]
    assert rules['result']['output'] == 'work_dirs/fcn_digits/best.pth'


def test_snakemake_plans_it(tmp_path):
    pytest.importorskip('snakemake')
    (tmp_path / 'Snakefile').write_text(SNAKEFILE)
    command = [sys.executable, '-m', 'snakemake', '--dry-run', '--cores', '1', '--snakefile', tmp_path / 'Snakefile']
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(rf'^phase +{2 + 4 * ROUNDS}$', done.stdout, re.MULTILINE)
