"""The commands of the pages for newcomers, executed in their order; tests/test_own_data.py does those of its page."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from PIL import Image

from tests.doc_commands import commands
from tests.runs import run

ROOT = Path(__file__).parents[1]
# All that is changed: the lengths of the phases and the number of images.
LENGTHS = 'dmt.supervised.iters=2 dmt.semi.iters=2 dmt.semi.labeled_per_batch=2 dmt.semi.unlabeled_per_batch=3'
CUT = f'{LENGTHS} dmt.label_ratios=1, train_dataloader.batch_size=2'
SCENES = (
    'dmt.labeled.indices=4 dmt.unlabeled.indices=6 val_dataloader.dataset.indices=4 test_dataloader.dataset.indices=4'
)
METHOD = f'dmt.semi.iters=2 {SCENES}'
WORKERS = ('num_workers=0', 'persistent_workers=False')
NO_WORKERS = ' '.join(f'{part}_dataloader.{key}' for part in ('train', 'val', 'test') for key in WORKERS)
FOLDERS = f'{CUT} {NO_WORKERS}'


def own_commands(page):
    """Commands of a page that run a tool of this project, each once."""
    found = commands((ROOT / 'docs' / page).read_text())
    return list(dict.fromkeys(text for text in found if text.startswith('python tools/')))


def shortened(command, options):
    """The command with more options before its own."""
    if 'tools/train.py configs/' not in command:
        return command
    name, given, rest = command.partition('--cfg-options')
    return f'{name} --cfg-options {options} {rest}' if given else f'{command} --cfg-options {options}'


@pytest.fixture
def shell(tmp_path):
    """``shell(command)``: its output in a folder like a clone of this project, having looked that it succeeds."""
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    for name in ('tools', 'mmdmt'):
        (tmp_path / name).symlink_to(ROOT / name)

    def execute(command):
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
        done = run('-c', f'cd {tmp_path} && {command}', program='bash', PATH=path, timeout=600)
        assert done.returncode == 0, f'{command}\n{done.stdout}'
        return done.stdout

    return execute


@pytest.mark.slow
def test_getting_started_resuming_and_reports(tmp_path, shell):
    digits, test, again, classified = own_commands('getting_started.md')
    shell(shortened(digits, f'{CUT} {SCENES}'))
    assert 'mIoU' in shell(test)
    shell(again)
    shell(shortened(classified, CUT))
    assert (tmp_path / 'work_dirs/fcn_digits/report.html').is_file()
    assert (tmp_path / 'work_dirs/wrn10-1_digits/best.pth').is_file()

    with_config, without = own_commands('resume.md')
    shell(shortened(with_config, f'{CUT} {SCENES}'))
    shell(without)
    one, *_ = own_commands('report.md')
    shell(one)


@pytest.mark.slow
def test_methods(tmp_path, shell):
    segmentation, classification = own_commands('methods.md')
    shell(shortened(segmentation, METHOD))
    shell(shortened(classification, 'dmt.semi.iters=2'))
    assert len(list(tmp_path.glob('work_dirs/digits*/best.pth'))) == 2


@pytest.mark.slow
def test_classification_of_image_folders(tmp_path, shell):
    rng = np.random.default_rng(0)
    folders = [f'{part}/class{index}' for part in ('labeled', 'val') for index in range(5)]
    for folder in (*folders, 'unlabeled'):
        (tmp_path / 'my_images' / folder).mkdir(parents=True)
        for number in range(8 if folder == 'unlabeled' else 2):
            pixels = rng.integers(0, 256, (40, 48, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / 'my_images' / folder / f'{number}.jpg')
    plan, train, predict, by_class, from_file, from_scratch = own_commands('classification.md')

    no_download = f'{FOLDERS} model.backbone.init_cfg=None'
    assert 'model a: 10 labeled, 8 unlabeled images' in shell(shortened(plan, no_download))
    assert not (tmp_path / 'work_dirs').exists()
    shell(shortened(train, no_download))
    shell(predict)
    rows = (tmp_path / 'predictions/predictions.csv').read_text().splitlines()
    assert len(rows) == 1 + 8
    shell(shortened(f'{by_class} --dry-run', no_download))
    backbone = Config.fromfile(ROOT / 'configs/dmt/resnet18_folders.py').model.backbone
    torch.save(MODELS.build(dict(backbone, init_cfg=None)).state_dict(), tmp_path / 'resnet18.pth')
    shell(shortened(f'{from_file} --dry-run', FOLDERS))
    shell(shortened(f'{from_scratch} --dry-run', FOLDERS))
