import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmdmt.analysis.predictions import Predictor, list_images, write_predictions
from mmdmt.engine.model_checks import check_model
from mmdmt.engine.plan import RunPlan
from mmdmt.errors import MissingFileError, UserError
from tests.test_end_to_end_cls import tiny


@pytest.fixture
def images(tmp_path, write_image):
    """A folder of two images of one name in different folders, and something else."""
    rng = np.random.default_rng(0)
    for name in ('a/x.png', 'b/x.png'):
        write_image(tmp_path / 'images' / name, rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    (tmp_path / 'images/notes.txt').write_text('a/x.png\nb/x.png\n')
    return tmp_path / 'images'


def checkpoint(cfg, path, model='a'):
    from mmengine.registry import init_default_scope

    init_default_scope(cfg.default_scope)
    plan = RunPlan.of(cfg)
    built = check_model(plan.configs[model][None]['model'], model)
    torch.save(dict(meta=dict(dmt=dict(model=model)), state_dict=built.state_dict()), path)
    return path


def places(images, source):
    return [(path.relative_to(images).as_posix(), place.as_posix()) for path, place in list_images(source)]


def test_images_of_a_folder_a_list_and_a_file(images):
    both = [('a/x.png', 'a/x.png'), ('b/x.png', 'b/x.png')]
    assert places(images, images) == both
    assert places(images, images / 'notes.txt') == both
    assert places(images, images / 'a/x.png') == [('a/x.png', 'x.png')]


def test_a_list_cannot_lead_out_of_the_output_folder(images):
    (images / 'a/list.txt').write_text('../b/x.png\n')
    assert [place.as_posix() for _, place in list_images(images / 'a/list.txt')] == ['b/x.png']


def test_no_images(images, tmp_path):
    with pytest.raises(MissingFileError, match=r'nowhere\.png does not exist'):
        list_images(images / 'nowhere.png')
    (images / 'list.txt').write_text('c.png\nd.png\n')
    with pytest.raises(MissingFileError, match=r'c\.png does not exist, nor do 1 more'):
        list_images(images / 'list.txt')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='holds no image'):
        list_images(tmp_path / 'empty')


@pytest.mark.parametrize('model', ['a', 'b'])
def test_segmentation(tiny_config, images, tmp_path, model):
    cfg = tiny_config(tmp_path / 'run')
    predictor = Predictor.of(cfg, checkpoint(cfg, tmp_path / 'x.pth', model))
    assert predictor.classes[:2] == ['background', 'digit 0']
    assert predictor.model.data_preprocessor.mean.flatten()[0] == (123.675 if model == 'a' else 104.0)
    done = list(write_predictions(predictor, list_images(images), tmp_path / 'out'))
    assert len(done) == 2
    found = sorted(path.relative_to(tmp_path / 'out').as_posix() for path in (tmp_path / 'out').rglob('*.*'))
    kinds = [('confidence', 'png'), ('masks', 'png'), ('overlays', 'jpg')]
    assert found == [f'{kind}/{folder}/x.{suffix}' for kind, suffix in kinds for folder in 'ab']
    mask = np.asarray(Image.open(tmp_path / 'out/masks/a/x.png'))
    assert (mask.shape, mask.dtype) == ((20, 30), np.uint8)
    image, sample = predictor.predict(images / 'a/x.png')
    assert (image == np.asarray(Image.open(images / 'a/x.png'))).all()
    assert (sample.pred_sem_seg.data[0].cpu().numpy() == mask).all()
    confidence = np.asarray(Image.open(tmp_path / 'out/confidence/a/x.png'))
    expected = 255 * sample.seg_logits.data.softmax(0).amax(0).cpu().numpy()
    assert np.abs(confidence - expected).max() <= 0.5 + 1e-3


def test_classification(images, tmp_path):
    cfg = tiny(tmp_path / 'run')
    cfg.test_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'), dict(type='Resize', scale=(8, 8)), dict(type='PackInputs')
    ]  # fmt: skip
    predictor = Predictor.of(cfg, checkpoint(cfg, tmp_path / 'x.pth'))
    list(write_predictions(predictor, list_images(images), tmp_path / 'out'))
    rows = list(csv.DictReader((tmp_path / 'out/predictions.csv').open()))
    assert [row['image'] for row in rows] == ['a/x.png', 'b/x.png']
    for row in rows:
        _, sample = predictor.predict(images / row['image'])
        assert int(row['label']) == int(sample.pred_score.argmax())
        assert float(row['confidence']) == pytest.approx(float(sample.pred_score.max()), abs=1e-6)
        assert row['class'] == predictor.classes[int(row['label'])]


def test_weights_of_another_model(tiny_config, tmp_path):
    cfg = tiny_config(tmp_path / 'run')
    torch.save(dict(meta={}, state_dict={'other': torch.zeros(1)}), tmp_path / 'x.pth')
    with pytest.raises(UserError, match=r'x\.pth does not fit the model.*1 are unexpected'):
        Predictor.of(cfg, tmp_path / 'x.pth')
    with pytest.raises(MissingFileError, match=r'nowhere\.pth does not exist'):
        Predictor.of(cfg, tmp_path / 'nowhere.pth')


def test_an_image_that_is_none_is_named(tiny_config, images, tmp_path):
    cfg = tiny_config(tmp_path / 'run')
    predictor = Predictor.of(cfg, checkpoint(cfg, tmp_path / 'x.pth'))
    (images / 'bad.png').write_bytes(b'nothing')
    with pytest.raises(UserError, match=r'image .*bad\.png cannot be read'):
        predictor.predict(images / 'bad.png')


def test_two_images_of_one_place(tiny_config, images, tmp_path):
    pairs = [(images / 'a/x.png', Path('x.png')), (images / 'b/x.png', Path('x.jpg'))]
    with pytest.raises(UserError, match=r'would both be x\.png'):
        list(write_predictions(None, pairs, tmp_path / 'out'))


def test_a_config_without_images(tiny_config, tmp_path):
    cfg = tiny_config(tmp_path / 'run')
    path = checkpoint(cfg, tmp_path / 'x.pth')
    ordinary = Config(dict(model=cfg.model.to_dict(), default_scope='mmseg'))
    with pytest.raises(UserError, match='neither test_dataloader nor val_dataloader'):
        Predictor.of(ordinary, path)
