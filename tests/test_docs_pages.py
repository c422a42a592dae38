"""The pages hang together: links lead somewhere, and tables and quoted configs are those of the code."""

import doctest
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md')])
LINK = re.compile(r'!?\[[^\]]*\]\(([^)\s]+)\)')


def name(page):
    return page.relative_to(ROOT).as_posix()


def without_code(text):
    return re.sub(r'^ *```.*?^ *```$|`[^`\n]*`', '', text, flags=re.DOTALL | re.MULTILINE)


def anchors(page):
    """Anchors of the headings of a page, as GitHub and the site make them."""
    text = re.sub(r'^ *```.*?^ *```$', '', page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r'^#+ (.+)$', text, re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def broken(page, link):
    """What a relative link does not lead to; None if it leads to something."""
    if re.match(r'\w+:', link):
        return None
    path, _, anchor = link.partition('#')
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return f'{path} does not exist'
    return f'{target.name} has no heading {anchor}' if anchor and anchor not in anchors(target) else None


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_links_lead_to_something(page):
    links = LINK.findall(without_code(page.read_text()))
    assert [found for link in links if (found := broken(page, link))] == []


def test_wrong_links_are_found():
    page = ROOT / 'docs/train.md'
    assert broken(page, 'files.md#damage') is None
    assert broken(page, 'file.md') == 'file.md does not exist'
    assert broken(page, 'files.md#damages') == 'files.md has no heading damages'


def test_each_page_is_in_the_site_and_on_its_first_page():
    shown = set(re.findall(r'[\w]+\.md', (ROOT / 'mkdocs.yml').read_text()))
    pages = {path.name for path in (ROOT / 'docs').glob('*.md')}
    assert shown == pages
    assert pages - set(re.findall(r'\((\w+\.md)', (ROOT / 'docs/index.md').read_text())) == {'index.md'}


def test_readme_is_short():
    lines = (ROOT / 'README.md').read_text().splitlines()
    assert len(lines) <= 150
    assert sum('-m pytest' in line for line in lines) == 1  # the command of .ci/run


@pytest.fixture(scope='module')
def generate():
    spec = importlib.util.spec_from_file_location('generate', ROOT / 'docs/generate.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_those_of_the_code(generate):
    """``python docs/generate.py`` makes them anew."""
    pages = [path for path in PAGES if '<!-- generated: ' in path.read_text()]
    assert {path.name for path in pages} == {'compare.md', 'methods.md', 'options.md'}
    for page in pages:
        assert generate.filled(page.read_text()) == page.read_text(), f'{page.name}: run python docs/generate.py'


def test_each_block_is_on_a_page_and_a_changed_table_is_found(generate):
    text = ''.join(path.read_text() for path in PAGES)
    assert set(re.findall(r'<!-- generated: (\w+) -->', text)) == set(generate.BLOCKS)
    page = (ROOT / 'docs/options.md').read_text()
    changed = page.replace('| `5` |', '| `4` |')
    assert changed != page
    assert generate.filled(changed) == generate.filled(page)
    assert doctest.testmod(generate).failed == 0


def test_every_method_and_every_key_has_a_row(generate):
    page = (ROOT / 'docs/options.md').read_text()
    from mmdmt.engine.settings import DMTSettings, SemiStage, SplitSettings

    for settings in (DMTSettings, SemiStage, SplitSettings):
        assert [key for key in settings.model_fields if f'`{key}`' not in page] == []
    assert '### FixMatch' in page
    assert '| `threshold` | `0.95` |' in page
    assert generate.arguments(generate.DynamicMutualLoss).keys() >= {'gamma1', 'ramp'}


@pytest.mark.slow
def test_site_builds(tmp_path):
    pytest.importorskip('mkdocs')
    pytest.importorskip('mkdocstrings')
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir']
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
