"""Tiny stock models, batches of views, and the checks that every method has to pass."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample

import mmdmt.cls
import mmdmt.engine
import mmdmt.seg  # noqa: F401
from mmdmt.methods.base import View

CLASSES = 3
SIZE = (12, 16)
SEGMENTOR = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[0.0] * 3, std=[1.0] * 3, size_divisor=1),
    backbone=dict(
        type='ResNet', depth=18, base_channels=8, stem_channels=8, num_stages=2, out_indices=(0, 1), strides=(1, 1),
        dilations=(1, 1), norm_cfg=dict(type='BN'), norm_eval=False,
    ),
    decode_head=dict(
        type='FCNHead', in_channels=16, in_index=1, channels=4, num_convs=1, kernel_size=1, concat_input=False,
        dropout_ratio=0.0, num_classes=CLASSES, norm_cfg=dict(type='BN'), align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)  # fmt: skip
AUXILIARY = dict(SEGMENTOR['decode_head'], in_channels=8, in_index=0)
CLASSIFIER = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='ClsDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3, to_rgb=False),
    backbone=dict(type='WideResNet', depth=10, width=1),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=CLASSES, in_channels=64, loss=dict(type='CrossEntropyLoss')),
)
SCOPES = {'EncoderDecoder': 'mmseg', 'ImageClassifier': 'mmpretrain'}
STOCK = {'pixels': SEGMENTOR, 'images': CLASSIFIER}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture
def build():
    """``build(type, stock config, **arguments)``: an initialized method in training mode; None as type: the model."""

    def make(kind, model, **arguments):
        with DefaultScope.overwrite_default_scope(SCOPES.get(model.get('type'), 'mmseg')):
            config = ConfigDict(copy.deepcopy(model))
            built = MODELS.build(config if kind is None else dict(type=kind, model=config, **arguments))
            built.init_weights()
        return built.train()

    return make


@pytest.fixture
def view():
    """``view('pixels' or 'images', number, labeled=False, size=SIZE)``: a random view."""

    def make(task, number, labeled=False, size=SIZE, padding=(0, 0, 0, 0)):
        images = torch.randn(number, 3, *size)
        samples = []
        for _ in range(number):
            sample = SegDataSample() if task == 'pixels' else DataSample()
            sample.set_metainfo(dict(img_shape=size, padding_size=padding))
            if labeled and task == 'pixels':
                label = torch.randint(CLASSES, (1, *size))
                label[:, 0, :2] = 255
                sample.set_data(dict(gt_sem_seg=PixelData(data=label)))
            elif labeled:
                sample.set_gt_label(torch.randint(CLASSES, (1,)))
            samples.append(sample)
        return View(images, samples)

    return make


@pytest.fixture
def views(view):
    """``views(method, task, number)``: a view for each name of a method; those named ``labeled...`` have labels."""

    def make(method, task, number=2, **options):
        return {name: view(task, number, name.startswith('labeled'), **options) for name in method.views}

    return make


def padded_apart(view):
    """The view, whose images now differ in their padding: the first one has most."""
    for index, sample in enumerate(view.samples):
        sample.set_metainfo(dict(padding_size=(0, 6 - 2 * index, index, 1)))
    return view


def total(losses):
    """What mmengine trains on."""
    return sum(value for key, value in losses.items() if 'loss' in key)


def unlabeled(losses, names):
    """Sum of the named losses, those on unlabeled images."""
    return sum(losses[name] for name in names)


def moved_by(method, loss):
    """Names of the networks whose parameters a loss has a gradient for that is not 0."""
    method.zero_grad()
    loss.backward()
    return {
        name.split('.')[0]
        for name, parameter in method.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }


def sharpened(network, factor=20.0):
    """Make the last layer of a network sure of its predictions."""
    head = network.decode_head.conv_seg if hasattr(network, 'decode_head') else network.head.fc
    with torch.no_grad():
        head.weight.normal_().mul_(factor)
    return network
