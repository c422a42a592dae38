"""model-index.yml, CITATION.cff and CHANGELOG.md agree with the package."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
INDEX = yaml.safe_load((ROOT / 'model-index.yml').read_text())
CITATION = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
NOT_METHODS = {'_base_', 'ablations', 'baselines', 'experiments'}
METRICS = {'Semantic Segmentation': {'mIoU', 'mIoU (A)', 'mIoU (B)'}, 'Image Classification': {'Top 1 Accuracy'}}
VERSION = re.search(r'^version = "(.+)"$', (ROOT / 'pyproject.toml').read_text(), re.MULTILINE)[1]


def test_index_lists_each_config_of_a_method_once():
    folders = [path for path in (ROOT / 'configs').iterdir() if path.is_dir() and path.name not in NOT_METHODS]
    shipped = sorted(path.relative_to(ROOT).as_posix() for folder in folders for path in folder.glob('*.py'))
    assert sorted(model['Config'] for model in INDEX['Models']) == shipped
    names = [model['Name'] for model in INDEX['Models']]
    assert len(set(names)) == len(names)


def test_collections_have_a_paper_and_code():
    assert {model['In Collection'] for model in INDEX['Models']} == {item['Name'] for item in INDEX['Collections']}
    readme = (ROOT / 'README.md').read_text()
    for collection in INDEX['Collections']:
        assert collection['Paper']['URL'] in readme
        assert (ROOT / collection['Code']['URL']).is_file()
        assert (ROOT / collection['README']).is_file()


@pytest.mark.parametrize('model', INDEX['Models'], ids=lambda model: model['Name'])
def test_figures_are_those_of_the_results(model):
    (result,) = model['Results']
    assert set(result['Metrics']) <= METRICS[result['Task']]
    page = (ROOT / 'docs/results.md').read_text() + (ROOT / 'README.md').read_text()
    for value in result['Metrics'].values():
        assert value == '-' or re.search(rf'\b{re.escape(str(value))}\b', page)
    assert model['Weights'] == '-'


def test_citation_is_the_paper():
    assert CITATION['cff-version'] == '1.2.0'
    assert CITATION['version'] == VERSION
    paper = CITATION['preferred-citation']
    assert paper['title'] == 'DMT: Dynamic Mutual Training for Semi-Supervised Learning'
    readme = ' '.join((ROOT / 'README.md').read_text().split())
    assert ', '.join(f'{person["given-names"][0]}. {person["family-names"]}' for person in paper['authors']) in readme
    assert f'{paper["journal"]}, {paper["year"]}' in readme


def test_changelog_has_the_version():
    headings = re.findall(r'^## \[?([^\]\n]+)\]?$', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE)
    assert headings[0] == 'Unreleased'
    assert VERSION in headings
