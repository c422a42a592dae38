"""docs/demo.ipynb trains the shortened demo and shows its report."""

import json
import re
from pathlib import Path

import pytest

from tests.doc_commands import fault

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / 'docs/demo.ipynb'
CELLS = json.loads(NOTEBOOK.read_text())['cells']
SOURCES = [''.join(cell['source']) for cell in CELLS if cell['cell_type'] == 'code']
SHELL = [line[1:] for source in SOURCES for line in source.replace('\\\n', '').splitlines() if line[:1] == '!']


def test_commands_could_be_run():
    assert len(SHELL) == 2
    for command in SHELL:
        command = command.replace('{python}', 'python').replace('{work_dir}', 'work_dirs/wrn10-1_digits')
        assert fault(command) is None


def test_notebook_holds_no_outputs_and_links_to_pages():
    assert all(not cell.get('outputs') and cell.get('execution_count') is None for cell in CELLS)
    text = ''.join(''.join(cell['source']) for cell in CELLS if cell['cell_type'] == 'markdown')
    assert all((ROOT / 'docs' / page).is_file() for page in re.findall(r'\]\((\w+\.md)\)', text))


@pytest.mark.slow
def test_notebook_runs(tmp_path, monkeypatch):
    nbclient = pytest.importorskip('nbclient')
    pytest.importorskip('ipykernel')
    nbformat = pytest.importorskip('nbformat')
    monkeypatch.setenv('DEMO_WORK_DIR', str(tmp_path / 'demo'))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=900, resources={'metadata': {'path': str(ROOT)}}).execute()
    shown = json.dumps(notebook.cells)
    assert '<iframe srcdoc' in shown and '<svg' in (tmp_path / 'demo/report.html').read_text()
    (result,) = [cell.outputs[0]['data']['text/plain'] for cell in notebook.cells if 'json.loads' in cell.source]
    assert float(re.search(r"'accuracy/top1': ([\d.]+)", result)[1]) > 80
