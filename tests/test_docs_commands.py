"""Every command in the pages could be run: its tool, its options and its config exist."""

import re

import pytest

from tests.doc_commands import PAGES, ROOT, Parsed, commands, fault, mentioned, parse

COMMANDS = [(page.relative_to(ROOT).as_posix(), command) for page in PAGES for command in commands(page.read_text())]
MENTIONED = {(page.relative_to(ROOT).as_posix(), text) for page in PAGES for text in mentioned(page.read_text())}
# Options of other programs: mkdocs, scripts of this project outside of tools/, SLURM, torchrun, mmdmt itself.
OTHER_OPTIONS = {
    '--strict', '--check', '--voc', '--only', '--requeue', '--signal', '--dependency', '--kill-on-invalid-dep',
    '--max-restarts', '--nproc-per-node', '--rdzv-backend', '--standalone', '--version',
}  # fmt: skip


def test_pages_have_commands():
    assert len(COMMANDS) > 60
    assert ('README.md', '.venv/bin/python -m pytest -n auto --dist loadfile') in COMMANDS
    assert ('docs/train.md', 'python tools/test.py work_dirs/deeplabv2_voc_1_20') in COMMANDS


@pytest.mark.parametrize(('page', 'command'), sorted(set(COMMANDS)))
def test_command_could_be_run(page, command):
    assert fault(command) is None


@pytest.mark.parametrize(('page', 'command'), sorted(MENTIONED))
def test_mentioned_command_exists(page, command):
    """Arguments may be missing; those that are named must be right."""
    found = fault(command) or ''
    assert not found or re.search(r'arguments are required|expected (one|at least one) argument', found)


@pytest.mark.parametrize(
    ('command', 'found'),
    [
        ('python tools/trian.py configs/dmt/fcn_digits.py', 'tools/trian.py does not exist'),
        ('python tools/train.py configs/dmt/fcn_digits.py --dryrun', 'unrecognized arguments: --dryrun'),
        ('python tools/train.py configs/dmt/fcn_digit.py', 'config configs/dmt/fcn_digit.py does not exist'),
        ('python tools/test.py', 'the following arguments are required: config'),
        ('python tools/predict.py work_dirs/fcn_digits best.pth', 'arguments are required: images, out'),
        ('python tools/test.py work_dirs/fcn_digit', 'config work_dirs/fcn_digit does not exist'),
        ('python tools/train.py configs/dmt/fcn_digits.py --cfg-options dmt.semi.epoch=2', 'unknown key(s) epoch'),
        ('python tools/train.py configs/dmt/fcn_digits.py --cfg-options dmt.scheme=mutal', 'dmt.scheme must be one of'),
        ('python tools/train.py configs/dmt/fcn_digits.py --cfg-options dmt.semi.epochs=-1', 'must be above 0'),
        (
            'python tools/train.py configs/dmt/resnet18_folders.py --cfg-options model.head.num_class=5',
            'the config has no model.head.num_class',
        ),
        ('python tools/train.py configs/dmt/fcn_digits.py --cfg-options dmt', 'must be key=value pairs'),
        (
            'python tools/experiment.py configs/experiments/digit.py',
            'config configs/experiments/digit.py does not exist',
        ),
        ('python tools/make_splits.py vocs data', "invalid choice: 'vocs'"),
        ("pip install -e '.[tset]'", 'there is no extra tset'),
        ('mmdmt trian dmt/fcn_digits.py', 'tools/trian.py does not exist'),
        ('mmdmt train dmt/fcn_digit', 'config dmt/fcn_digit does not exist'),
        ('tools/dist_trian.sh configs/dmt/fcn_digits.py 2', 'tools/dist_trian.sh does not exist'),
        ('pyhton tools/train.py', 'pyhton is not a known program'),
        ('bash tests/gpu/rnu.sh OUT', 'tests/gpu/rnu.sh does not exist'),
    ],
)
def test_planted_fault_is_found(command, found):
    assert found in (fault(command) or '')


def test_options_that_pages_name_exist():
    options = set(OTHER_OPTIONS)
    for tool in sorted((ROOT / 'tools').glob('*.py')):
        found = parse(tool.relative_to(ROOT).as_posix(), ['--no-such-option'])
        assert isinstance(found, str)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr('argparse.ArgumentParser.parse_known_args', lambda self, *args: (None, []))
            parsed = parse(tool.relative_to(ROOT).as_posix(), [])
        assert isinstance(parsed, Parsed)
        options |= set(parsed.parser._option_string_actions)
    for page in PAGES:
        text = re.sub(r'`(?:pip|torchrun|sbatch|srun)[^`]*`', '', page.read_text())
        named = set(re.findall(r'`(--[a-z][a-z-]+)', text))
        assert named - options == set(), page.name
