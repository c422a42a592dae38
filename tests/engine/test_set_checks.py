"""The sets of a run against each other, whatever the toolbox; tests/engine/test_run_data.py has the rest."""

from types import SimpleNamespace

import numpy as np
import pytest

from mmdmt.cls.label_checks import count_unlabeled
from mmdmt.datasets.reading import CheckedFiles
from mmdmt.engine.phase_config import ModelData
from mmdmt.engine.set_checks import SetChecks
from mmdmt.errors import UserError


class Images:
    """A dataset of images in memory, of given names and labels."""

    def __init__(self, names, labels=None, classes=('cat', 'dog'), masks=None):
        self.names, self.labels, self.masks = names, labels or [0] * len(names), masks
        self.metainfo = {} if classes is None else dict(classes=classes)

    def __len__(self):
        return len(self.names)

    def get_data_info(self, idx):
        info = dict(img_path=self.names[idx], img=np.zeros((2, 2, 3)), gt_label=self.labels[idx])
        return info if self.masks is None else {**info, 'seg_map_path': self.masks[idx]}

    def full_init(self):
        pass


class Task:
    """Counts labels, and refuses 9."""

    def check_labeled(self, dataset, key, classes, files):
        if 9 in dataset.labels:
            raise UserError(f'{key}: label 9')
        return np.bincount(dataset.labels, minlength=classes)

    def check_samples(self, *args):
        pass

    count_unlabeled = staticmethod(count_unlabeled)


class Plan:
    task, settings = Task(), SimpleNamespace(scheme='mutual')

    def __init__(self, sets):
        loaders = {f'{name}_dataloader': dict(dataset=name) for name in ('val', 'test') if name in sets}
        self.configs = {'a': {None: loaders}, 'b': {None: loaders}}
        self.cfg = {}

    def num_classes(self, model):
        return 2


@pytest.fixture
def check():
    """``check(sets, first)``: counts and warnings; ``first`` names the labeled set of each model's first phase."""

    def check(sets, first=None):
        first, warnings = first or dict(a='labeled'), []
        models = {
            model: ModelData(dict(supervised=name, semi='labeled'), 'unlabeled', [], [], {}, 1)
            for model, name in first.items()
        }
        checks = SetChecks(Plan(sets), models, CheckedFiles(), lambda name, key: sets[name], warnings.append)
        for model in models:
            checks.check(model)
        return {title: counts.tolist() for title, counts in checks.class_counts.items()}, warnings

    return check


def some(**changed):
    return dict(
        labeled=Images(['l0', 'l1', 'l2'], [0, 0, 1]), unlabeled=Images(['u0', 'u1'], [1, 1]),
        val=Images(['v0', 'v1'], [0, 1]), test=Images(['t0']), **changed)  # fmt: skip


def test_classes_of_every_set(check):
    counts, warnings = check(some())
    assert counts == dict(labeled=[2, 1], val=[1, 1], test=[1, 0], unlabeled=[0, 2])
    assert warnings == []


def test_first_phases_of_two_models(check):
    sets = some(part_a=Images(['l0', 'l1']), part_b=Images(['l1', 'l2'], [0, 1]))
    counts, warnings = check(sets, dict(a='part_a', b='part_b'))
    assert counts == {
        'labeled': [2, 1], 'labeled a, first phase': [2, 0], 'labeled b, first phase': [1, 1],
        'val': [1, 1], 'test': [1, 0], 'unlabeled': [0, 2],
    }  # fmt: skip
    assert warnings == ['labeled a, first phase: no label shows class dog, which cannot be learned']


def test_class_that_is_missing_everywhere_is_said_once(check):
    sets = some() | dict(labeled=Images(['l0', 'l1']), part_a=Images(['l0']), part_b=Images(['l1']))
    assert check(sets, dict(a='part_a', b='part_b'))[1] == [
        'labeled: no label shows class dog, which cannot be learned'
    ]


def test_a_mask_of_two_images_is_warned_of(check, tmp_path):
    (tmp_path / 'm0').touch()
    (tmp_path / 'link').symlink_to(tmp_path / 'm0')
    masks = [str(tmp_path / 'm0'), 'm1', str(tmp_path / 'link')]
    assert check(some() | dict(labeled=Images(['l0', 'l1', 'l2'], [0, 0, 1], masks=masks)))[1] == [
        f'dmt.labeled: 1 of its images have the mask of another one: {masks[2]} is that of l0 and of l2'
    ]
    assert not check(some() | dict(labeled=Images(['l0', 'l1', 'l2'], [0, 0, 1], masks=['m0', 'm1', 'm2'])))[1]


@pytest.mark.parametrize('name', ['val', 'test'])
@pytest.mark.parametrize('classes', [('dog', 'cat'), ('cat', 'Dog'), ('cat',), ('cat', 'dog', 'owl')])
def test_other_classes_are_refused(check, name, classes):
    with pytest.raises(UserError, match=rf'^{name}_dataloader\.dataset has the classes .* but dmt\.labeled has .*cat'):
        check(some() | {name: Images(['x'], classes=classes)})
    check(some() | {name: Images(['x'], classes=None)})  # it does not say


@pytest.mark.parametrize('name', ['labeled', 'unlabeled', 'val', 'test'])
def test_image_twice_in_one_set(check, name):
    with pytest.raises(UserError, match=r'lists 1 of its images more than once: x'):
        check(some() | {name: Images(['x', 'y', 'x'], [0, 1, 0])})


def test_image_in_two_sets(check):
    with pytest.raises(UserError, match=r'^dmt\.labeled and dmt\.unlabeled share 1 of their images: u1$'):
        check(some() | dict(labeled=Images(['l0', 'u1'], [0, 1])))
    for name, known in (('val', 'l1'), ('test', 'u0')):
        warnings = check(some() | {name: Images(['x', known], [0, 1])})[1]
        assert warnings == [f'{name}_dataloader.dataset shares 1 of its images with the training images: {known}']


def test_fault_of_the_test_set_is_a_warning(check):
    counts, warnings = check(some() | dict(test=Images(['x'], [9])))
    assert 'test' not in counts
    assert warnings == ['the test set cannot be used: test_dataloader.dataset: label 9']
    for name in ('labeled', 'val'):
        with pytest.raises(UserError, match='label 9'):
            check(some() | {name: Images(['x'], [9])})
