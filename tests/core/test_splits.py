import os
import random
from pathlib import Path

import pytest

from mmdmt.core.splits import balanced_split, difference_maximised_sampling, held_out, nested_split, stratified_split

DATA = Path(os.environ.get('MMDMT_SHARED_DATA') or Path(__file__).resolve().parents[3] / 'shared' / 'data')
PUBLISHED = DATA / 'splits' / 'dmt'
NAME_LISTS = {'voc2012': 'voc2012/trainaug.txt', 'cityscapes': 'cityscapes/train.txt'}
RATIOS = {
    'voc2012': {106: 105.82, 50: 50, 20: 20, 8: 8, 4: 4, 2: 2, 1: 1},
    'cityscapes': {30: 29.75, 8: 8, 4: 4, 1: 1},
}
NAMES = [f'{index:02d}' for index in range(18)]

needs_lists = pytest.mark.skipif(not PUBLISHED.is_dir(), reason='the published lists are not here (MMDMT_SHARED_DATA)')


def read(path):
    return path.read_text().split()


@needs_lists
@pytest.mark.parametrize('split_id', [0, 1, 2])
@pytest.mark.parametrize(
    ('dataset', 'file', 'ratio'), [(name, *item) for name, ratios in RATIOS.items() for item in ratios.items()]
)
def test_published_lists(dataset, file, ratio, split_id):
    names = read(DATA / 'splits' / NAME_LISTS[dataset])
    labeled, unlabeled = nested_split(names, ratio, split_id)
    assert labeled == read(PUBLISHED / dataset / f'{file}_labeled_{split_id}.txt')
    if file == 1:
        assert unlabeled == []
    else:
        assert unlabeled == read(PUBLISHED / dataset / f'{file}_unlabeled_{split_id}.txt')


def slow_split(names, ratio, split_id, seed):
    """The same with a Fisher-Yates shuffle written out."""
    order = sorted(names)
    generator = random.Random(seed)
    for _ in range(split_id + 1):
        for last in range(len(order) - 1, 0, -1):
            other = generator.randrange(last + 1)
            order[last], order[other] = order[other], order[last]
    number = 0
    while (number + 1) * ratio <= len(order):
        number += 1
    if number % 8 == 1 and number < len(order):
        number += 1
    return order[:number], order[number:]


@pytest.mark.parametrize('split_id', [0, 1, 4])
@pytest.mark.parametrize('ratio', [1, 2, 2.5, 8, 18])
@pytest.mark.parametrize('seed', [7777, 1])
def test_equals_slow_reference(ratio, split_id, seed):
    assert nested_split(NAMES, ratio, split_id, seed) == slow_split(NAMES, ratio, split_id, seed)


def test_golden():
    assert nested_split(['d', 'a', 'c', 'b', 'e', 'f'], 2, 0) == (['a', 'd', 'f'], ['c', 'e', 'b'])


@pytest.mark.parametrize(
    ('total', 'ratio', 'labeled'),
    [
        (16, 2, 8),
        (18, 2, 10),  # 9 leaves a batch of one after a batch of 8
        (19, 2, 10),
        (20, 2.2, 10),
        (34, 2, 18),
        (30, 4, 7),
        (18, 18, 2),
        (9, 1, 9),  # there is no tenth
        (1, 1, 1),
    ],
)
def test_number_of_labeled(total, ratio, labeled):
    names = [f'{index:03d}' for index in range(total)]
    first, rest = nested_split(names, ratio, 0)
    assert len(first) == labeled
    assert sorted(first + rest) == names


def test_smaller_sets_lie_within_larger_ones():
    large, small = nested_split(NAMES, 2, 1)[0], nested_split(NAMES, 4, 1)[0]
    assert large[: len(small)] == small


def test_order_of_names_does_not_matter_and_they_are_not_changed():
    names = NAMES[::-1]
    assert nested_split(names, 2, 0) == nested_split(NAMES, 2, 0)
    assert names == NAMES[::-1]


def test_split_ids_differ():
    assert len({tuple(nested_split(NAMES, 2, split_id)[0]) for split_id in range(3)}) == 3


def test_global_random_state_is_left_alone():
    random.seed(3)
    state = random.getstate()
    nested_split(NAMES, 2, 0)
    balanced_split(NAMES, [0] * len(NAMES), 4)
    difference_maximised_sampling(NAMES)
    assert random.getstate() == state


@pytest.mark.parametrize(
    ('names', 'ratio', 'split_id', 'message'),
    [
        (['a', 'b', 'a'], 2, 0, "'a'"),
        ([], 2, 0, 'at least one'),
        (['a', 'b'], 0.5, 0, '>= 1; got 0.5'),
        (['a', 'b'], float('nan'), 0, 'nan'),
        (['a', 'b'], 3, 0, r'\(2\).*got 3'),
        (['a', 'b'], 2, -1, 'split_id .*-1'),
        (['a', 'b'], 2, 1.0, r'split_id .*1\.0'),
        (['a', 'b'], 2, True, 'split_id .*True'),
    ],
)
def test_nested_split_refuses(names, ratio, split_id, message):
    with pytest.raises(ValueError, match=message):
        nested_split(names, ratio, split_id)


# CIFAR-10 without 200 validation images
MANY_LABELS = [index * 7 % 10 for index in range(49800)]
MANY = [f'{index:05d}_{label}' for index, label in enumerate(MANY_LABELS)]


@pytest.mark.parametrize('split_id', range(5))
def test_balanced_split_is_balanced_nested_and_complete(split_id):
    largest = balanced_split(MANY, MANY_LABELS, 4000, split_id)[0]
    for number in (40, 250, 1000, 4000):
        labeled, unlabeled = balanced_split(MANY, MANY_LABELS, number, split_id)
        assert [int(name[-1]) for name in labeled] == list(range(10)) * (number // 10)
        assert labeled == largest[:number]
        assert unlabeled == sorted(unlabeled)
        assert sorted(labeled + unlabeled) == MANY


def test_balanced_split_ids_and_seeds_differ():
    splits = [balanced_split(MANY, MANY_LABELS, 250, split_id)[0] for split_id in range(5)]
    splits.append(balanced_split(MANY, MANY_LABELS, 250, seed=1)[0])
    assert len({frozenset(labeled) for labeled in splits}) == 6


def test_balanced_split_golden():
    names = ['b1', 'a0', 'd0', 'c1', 'e0', 'f1', 'g0', 'h1']
    labels = [1, 0, 0, 1, 0, 1, 0, 1]
    # random.Random('7777 0') shuffles a0 d0 e0 g0 to g0 d0 a0 e0, random.Random('7777 1') b1 c1 f1 h1 to h1 c1 b1 f1.
    assert balanced_split(names, labels, 2) == (['g0', 'h1'], ['a0', 'b1', 'c1', 'd0', 'e0', 'f1'])
    assert balanced_split(names, labels, 4) == (['g0', 'h1', 'd0', 'c1'], ['a0', 'b1', 'e0', 'f1'])
    assert balanced_split(names, labels, 4, split_id=1)[0] == ['a0', 'f1', 'e0', 'h1']
    assert balanced_split(names, labels, 8) == (['g0', 'h1', 'd0', 'c1', 'a0', 'b1', 'e0', 'f1'], [])


def slow_balanced_split(names, labels, number, split_id, seed):
    """The same by way of ``slow_split``, class after class."""
    classes = sorted(set(labels))
    taken = []
    for wanted in classes:
        members = [name for name, label in zip(names, labels, strict=True) if label == wanted]
        shuffled = slow_split(members, 1, split_id, f'{seed} {wanted}')[0]
        taken.append(shuffled[: number // len(classes)])
    labeled = [taken[column][row] for row in range(number // len(classes)) for column in range(len(classes))]
    return labeled, sorted(name for name in names if name not in labeled)


@pytest.mark.parametrize('split_id', [0, 1, 4])
@pytest.mark.parametrize('number', [3, 6, 18])
@pytest.mark.parametrize('seed', [7777, 1])
def test_balanced_split_equals_slow_reference(number, split_id, seed):
    labels = [(2, 5, 8)[index % 3] for index in range(18)]
    assert balanced_split(NAMES, labels, number, split_id, seed) == slow_balanced_split(
        NAMES, labels, number, split_id, seed
    )


def test_balanced_split_does_not_depend_on_the_order():
    names, labels = MANY[:100], MANY_LABELS[:100]
    assert balanced_split(names[::-1], labels[::-1], 40) == balanced_split(names, labels, 40)
    assert names == MANY[:100]


def test_balanced_split_of_a_class_does_not_depend_on_the_others():
    keep = [index for index in range(100) if MANY_LABELS[index] in (3, 4)]
    few = balanced_split([MANY[index] for index in keep], [MANY_LABELS[index] for index in keep], 8)[0]
    assert few == [name for name in balanced_split(MANY[:100], MANY_LABELS[:100], 40)[0] if name[-1] in '34']


@pytest.mark.parametrize(
    ('names', 'labels', 'number', 'split_id', 'message'),
    [
        (['a', 'b', 'a'], [0, 1, 1], 2, 0, "'a'"),
        ([], [], 2, 0, 'at least one'),
        (['a', 'b'], [0], 1, 0, 'each of the 2 names; got 1'),
        (['a', 'b'], [0, 1], 0, 0, r'number must be a positive multiple .*\(2\); got 0'),
        (['a', 'b'], [0, 1], -2, 0, 'got -2'),
        (['a', 'b'], [0, 1], 2.0, 0, r'got 2\.0'),
        (['a'], [0], True, 0, 'got True'),
        (['a', 'b', 'c'], [0, 1, 1], 3, 0, r'\(2\); got 3'),
        (['a', 'b', 'c'], [0, 1, 1], 4, 0, 'too large for the data: class 0 has 1 names, 4 in 2 classes need 2'),
        (['a', 'b'], [0, 1], 2, -1, 'split_id .*-1'),
        (['a', 'b'], [0, 1], 2, 1.0, r'split_id .*1\.0'),
        (['a', 'b'], [0, 1], 2, True, 'split_id .*True'),
    ],
)
def test_balanced_split_refuses(names, labels, number, split_id, message):
    with pytest.raises(ValueError, match=message):
        balanced_split(names, labels, number, split_id)


@pytest.mark.parametrize(
    ('total', 'alpha', 'number'),
    [(100, 0.8, 80), (18, 0.8, 14), (18, 0.5, 9), (18, 1, 18), (18, 0.01, 1), (1, 0.8, 1)],
)
def test_difference_maximised_sampling(total, alpha, number):
    names = [f'{index:03d}' for index in range(total)]
    shuffled = slow_split(names, 1, 0, 7777)[0]
    first, last = difference_maximised_sampling(names[::-1], alpha)
    assert first == shuffled[:number]
    assert last == shuffled[total - number :]
    assert len(set(first) & set(last)) == max(0, 2 * number - total)


def test_difference_maximised_sampling_seed():
    assert difference_maximised_sampling(NAMES, seed=1) != difference_maximised_sampling(NAMES, seed=2)


@pytest.mark.parametrize(
    ('names', 'alpha', 'message'),
    [(['a'], 0, 'alpha .*got 0'), (['a'], 1.2, 'got 1.2'), (['a', 'a'], 0.8, "'a'"), ([], 0.8, 'at least one')],
)
def test_difference_maximised_sampling_refuses(names, alpha, message):
    with pytest.raises(ValueError, match=message):
        difference_maximised_sampling(names, alpha)


@pytest.mark.parametrize('share', [0.1, 0.25, 0.5])
def test_held_out_images_of_single_classes(share):
    """Of each class its share, rounded, at least one image and never all."""
    sizes = {0: 20, 1: 8, 2: 3, 3: 2, 4: 1}
    names = [f'{label}_{index:02d}' for label, size in sizes.items() for index in range(size)]
    classes = [[int(name[0])] for name in names]
    drawn = held_out(names, classes, share)
    assert drawn == sorted(set(drawn))
    counts = {label: sum(name.startswith(f'{label}_') for name in drawn) for label in sizes}
    assert counts == {
        0: {0.1: 2, 0.25: 5, 0.5: 10}[share], 1: {0.1: 1, 0.25: 2, 0.5: 4}[share], 2: {0.1: 1, 0.25: 1, 0.5: 2}[share],
        3: 1, 4: 0,
    }  # fmt: skip
    shuffled = list(zip(names, classes, strict=True))
    random.Random(1).shuffle(shuffled)
    assert held_out(*map(list, zip(*shuffled, strict=True)), share) == drawn
    assert held_out(names, classes, share, seed=1) != drawn


@pytest.mark.parametrize('seed', range(20))
def test_held_out_images_of_several_classes(seed):
    """Each class that two images show is on both sides, as far as images allow; no class loses its last image."""
    rng = random.Random(seed)
    names = [f'{index:02d}' for index in range(12)]
    classes = [{0} | {label for label in range(1, 6) if rng.random() < 0.25} for _ in names]
    drawn = held_out(names, classes, 0.25)
    assert 0 < len(drawn) < len(names)
    shown = set().union(*(own for name, own in zip(names, classes, strict=True) if name not in drawn))
    assert shown == set().union(*classes)
    assert len(drawn) >= 3  # a quarter of those with class 0


def test_image_without_a_class_is_not_held_out():
    assert held_out(['a', 'b', 'c'], [[], [0], [0]], 0.5) in (['b'], ['c'])


@pytest.mark.parametrize(
    ('names', 'classes', 'share', 'message'),
    [
        (['a', 'b'], [[0]], 0.5, r'one entry for each of the 2 names; got 1'),
        (['a', 'a'], [[0], [0]], 0.5, r"'a' more than once"),
        ([], [], 0.5, 'at least one image name'),
        (['a', 'b'], [[0], [0]], 0, r'share must be in \(0, 1\); got 0'),
        (['a', 'b'], [[0], [0]], 1.0, r'share must be in \(0, 1\); got 1\.0'),
        (['a', 'b'], [[0], [1]], 0.5, r'at least two images must show one class to hold one out; got 2 image'),
    ],
)
def test_wrong_held_out(names, classes, share, message):
    with pytest.raises(ValueError, match=message):
        held_out(names, classes, share)


def shown(classes_of, names):
    """Class -> number of images that show it."""
    return {label: sum(label in classes_of[name] for name in names) for label in range(4)}


def test_parts_show_each_class_alike():
    """100 images: all show class 0, every fifth class 1, two class 2, one class 3."""
    classes_of = {f'{n:02d}': [0, *[1] * (n % 5 == 0), *[2] * (n in (3, 77)), *[3] * (n == 9)] for n in range(100)}
    for split_id in range(5):
        left, out = stratified_split(classes_of, 20, split_id)
        assert shown(classes_of, out) == {0: 20, 1: 4, 2: 0, 3: 0}
        assert shown(classes_of, left) == {0: 80, 1: 16, 2: 2, 3: 1}
        assert sorted(left + out) == sorted(classes_of)
    left, out = stratified_split(classes_of, 50)
    assert shown(classes_of, out) | {3: 0} == {0: 50, 1: 10, 2: 1, 3: 0}
    assert stratified_split(classes_of, 50, 1)[1] != out
    assert stratified_split(dict(reversed(classes_of.items())), 50) == (left, out)


@pytest.mark.parametrize('number', [0, 1, 7, 17])
def test_images_whose_classes_are_not_known(number):
    left, out = stratified_split(dict.fromkeys(NAMES, ()), number)
    assert len(out) == number
    assert sorted(left + out) == NAMES
    assert stratified_split({name: [5] for name in NAMES}, number) == (left, out)


@pytest.mark.parametrize('number', [-1, 18, 19])
def test_number_that_leaves_nothing(number):
    with pytest.raises(ValueError, match=rf'at least one of the 18 names; got {number}'):
        stratified_split(dict.fromkeys(NAMES, ()), number)


def test_number_of_a_split_is_bounded():
    """Each is one more shuffle than the one before."""
    assert nested_split(NAMES, 2, 999) != nested_split(NAMES, 2, 998)
    with pytest.raises(ValueError, match=r'split_id must be below 1000; got 20240101 \(for other splits, set seed\)'):
        nested_split(NAMES, 2, 20240101)
