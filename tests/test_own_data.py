"""The walk-through of docs/own_data.md, executed as it is written there."""

import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image, ImageDraw

from tests.runs import run

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / 'docs/own_data.md').read_text()
BLOCKS = re.findall(r'```(\w+)\n(.*?)```', PAGE, flags=re.DOTALL)
COMMANDS = [line for language, text in BLOCKS if language == 'bash' for line in text.splitlines()]
WALK, WITHOUT_NETWORK = COMMANDS[:4], COMMANDS[4:]
CONFIG, INFERENCE = (text for language, text in BLOCKS if language == 'python')
# All that is changed: the lengths of the phases, no weights from the internet, the width of the network, and the sizes
# to which images are resized and cropped.
CUT = (
    'dmt.supervised.iters=2 dmt.semi.iters=1 dmt.semi.labeled_per_batch=1 dmt.semi.unlabeled_per_batch=3 '
    'dmt.label_ratios=1, train_dataloader.batch_size=2 model.backbone.init_cfg=None'
)
NARROW = """
model['backbone'] = dict(embed_dims=8)
model['decode_head'].update(in_channels=[8, 16, 40, 64], channels=32)
"""
SMALLER = {'(512, 512)': '(128, 128)', '(321, 321)': '(80, 80)'}
SKY, LEAF, STEM = (200, 210, 230), (40, 160, 40), (150, 100, 50)


def plant(rng, size):
    """Image and mask of a plant: photo-like noise, and the palette that many tools write."""
    width, height = size
    mask = Image.new('P', size, 0)
    mask.putpalette([*SKY, *LEAF, *STEM])
    draw = ImageDraw.Draw(mask)
    draw.rectangle([width // 2 - 4, height // 3, width // 2 + 4, height], fill=2)
    left = int(rng.integers(10, width - 50))
    draw.ellipse([left, 8, left + 40, height // 2], fill=1)
    pixels = np.array(mask.convert('RGB')) + rng.normal(0, 12, (height, width, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), mask


def draw_images(folder, number, with_mask, suffix='.jpg'):
    """Images of two sizes in two folders, the first ones with a mask."""
    rng = np.random.default_rng(0)
    for index in range(number):
        name = f'field{index % 2}/{index:04d}'
        image, mask = plant(rng, [(128, 96), (100, 120)][index % 2])
        for kind, picture, ending in (('images', image, suffix), ('masks', mask, '.png'))[: 1 + (index < with_mask)]:
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
            picture.save(folder / kind / f'{name}{ending}')


@pytest.fixture(scope='module')
def clone(tmp_path_factory):
    """A folder like a clone of this project, for the files that the walk-through writes."""
    folder = tmp_path_factory.mktemp('clone')
    shutil.copytree(ROOT / 'configs', folder / 'configs')
    data = folder / 'configs/_base_/datasets/image_masks.py'
    text = data.read_text()
    for size, smaller in SMALLER.items():
        assert size in text
        text = text.replace(size, smaller)
    data.write_text(text)
    for name in ('tools', 'mmdmt'):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture
def shell(clone):
    """``shell(command)``: its output, having looked that it succeeds; `python` is the one of the tests."""

    def execute(command):
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
        done = run('-c', f'cd {clone} && {command}', program='bash', PATH=path, timeout=300)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return execute


def test_config_is_short_and_the_shipped_one():
    assert len(CONFIG.splitlines()) <= 20
    shipped = ROOT / 'configs/dmt/segformer_mit-b0_image_masks.py'
    assert shipped.read_text() == CONFIG


def test_walk_through(clone, shell):
    """Folder, lists, config, check, run, test, and use of the result."""
    split, dry_run, train, test = WALK
    own, result = clone / 'data/own', clone / 'work_dirs/own'
    draw_images(own, number=15, with_mask=9)
    shell(split)
    lists = {path.stem: path.read_text().split() for path in (own / 'splits').iterdir()}
    assert {name: len(names) for name, names in lists.items()} == dict(
        labeled=5, unlabeled=6, val=4, labeled_a=4, labeled_b=4
    )
    (clone / 'configs/dmt/own.py').write_text(CONFIG + NARROW)

    plan = shell(f'{dry_run} --cfg-options {CUT}')
    assert 'model b: 4 or 5 labeled, 6 unlabeled images' in plan
    assert not result.exists()
    shell(f'{train} --cfg-options {CUT}')
    report = (result / 'report.md').read_text()
    assert re.search(r'01_train_b \| b +\| a +\| 5 +\| 1 +\| 1\.0000', report)
    assert re.search(r'\| DMT +\| +\d+\.\d+ +\| +\d+\.\d+ +\|', report)

    shell(test)
    for name in lists['val']:
        predicted = np.array(Image.open(result / f'predictions/{name}.png'))
        assert predicted.shape == np.array(Image.open(own / f'masks/{name}.png')).shape
        assert set(np.unique(predicted)) <= {0, 1, 2}
    printed = shell(f"python - <<'END'\n{INFERENCE}\nprint('shape', tuple(label_map.shape), model.dataset_meta)\nEND")
    assert 'shape (120, 100)' in printed
    assert "('background', 'leaf', 'stem')" in printed


def test_mixed_suffixes_and_other_mask_names(clone, shell):
    """By the option that the config's comment names."""
    (option,) = re.findall(r"seg_map_suffix='_mask\.png'", CONFIG)
    folder = clone / 'data/png'
    draw_images(folder, number=8, with_mask=6)
    for path, suffix in zip(sorted(folder.glob('images/*/*')), ['.jpg', '.JPG', '.jpeg', '.Jpeg'] * 2, strict=True):
        path.rename(path.with_suffix(suffix))
    for path in sorted(folder.glob('masks/*/*')):
        path.rename(path.with_name(f'{path.stem}_mask.png'))
    (folder / 'images/field0/._0000.jpg').write_bytes(b'no image')
    (clone / 'configs/dmt/png.py').write_text(CONFIG.replace('dict(metainfo', f'dict({option}, metainfo') + NARROW)
    split, dry_run, *_ = (command.replace('own', 'png') for command in WALK)
    printed = shell(f'{split} --mask-suffix _mask.png')
    assert 'data/png/images: 8 images (2 .JPG, 2 .Jpeg, 2 .jpeg, 2 .jpg); skipped 1 other files (._0000.jpg)' in printed
    plan = shell(f'{dry_run} --cfg-options {CUT} data_root=data/png')
    assert 'model a: 2 labeled, 2 unlabeled images' in plan
    assert re.search(r'\| 0 background +\| +\d+\.\d+ +\|', plan)
    assert '| 255 (ignored) ' in plan


def test_black_and_white_masks(clone, shell):
    """The page's remedy makes them right; without it, they are refused with what is wrong."""
    folder = clone / 'data/two'
    draw_images(folder, number=8, with_mask=6)
    for path in folder.glob('masks/*/*'):
        Image.fromarray((np.array(Image.open(path)) > 0).astype(np.uint8) * 255).save(path)
    config = re.sub(r'classes = \(.*?\)', "classes = ('background', 'plant')", CONFIG)
    (clone / 'configs/dmt/two.py').write_text(config + NARROW)
    split, dry_run, *_ = (command.replace('own', 'two') for command in WALK)
    assert 'warning: all values are 0 or 255, which means ignored: store 1 instead of 255' in shell(split)
    dry_run = f'{dry_run} --cfg-options {CUT} data_root=data/two'
    refusal = shell(f'{dry_run} || [ $? = 2 ]')
    assert "error: dmt.labeled: the masks show class 'background' only, and no pixel of plant. 255 means" in refusal
    (remedy,) = re.findall(r'`(Image\.fromarray.*?\.save\(path\))`', PAGE)
    for path in folder.glob('masks/*/*'):
        exec(remedy, dict(Image=Image, np=np, path=path))
    assert re.search(r'\| 1 plant +\| +\d+\.\d+ +\|', shell(dry_run))


def test_without_a_network(clone, shell):
    """Weights from a file, and a small model from scratch."""
    from_file, split, train = WITHOUT_NETWORK
    draw_images(clone / 'data/own', number=15, with_mask=9)
    (clone / 'configs/dmt/own.py').write_text(CONFIG)
    weights = clone / re.search(r'checkpoint=(\S+)', from_file)[1]
    cut = f'{CUT} dmt.rehearse=False --work-dir {clone}/work_dirs/offline --dry-run'
    shell(f'{WALK[0]} && {WALK[1]} --cfg-options {CUT}')
    refusal = shell(f'{from_file} {cut.replace("model.backbone.init_cfg=None", "")} || [ $? = 2 ]')
    assert 'initial weights' in refusal and str(weights.relative_to(clone)) in refusal
    weights.parent.mkdir()
    model = MODELS.build(dict(Config.fromfile(clone / 'configs/dmt/own.py').model.backbone, init_cfg=None))
    torch.save(model.state_dict(), weights)
    assert 'model b' in shell(f'{from_file} {cut.replace("model.backbone.init_cfg=None", "")}')

    shell(split)
    small = shell(f'{train} --dry-run --cfg-options {CUT.replace("model.backbone.init_cfg=None", "")}')
    assert 'model a: 5 labeled, 6 unlabeled images' in small
