"""Choose labeled images: published nested splits, class-balanced splits, and two subsets to make models differ."""

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence


def nested_split(names: Sequence[str], ratio: float, split_id: int, seed: int = 7777) -> tuple[list[str], list[str]]:
    """Split image names into labeled and unlabeled ones like the published lists (arXiv 2004.08514).

    The names are sorted and then shuffled ``split_id + 1`` times; the first n are labeled. For one split id, smaller
    labeled sets are subsets of larger ones. n is ``int(len(names) / ratio)``. If batches of 8 would leave a batch of
    one image, which batch norm cannot train on, n is one more, if there is one more name.

    Args:
        names: image names without duplicates, in any order.
        ratio: the divisor, >= 1: 8 labels one eighth; 105.82 gives the 100 of VOC, 29.75 the 100 of Cityscapes.
        split_id: 0, 1, 2 for the published lists; any integer >= 0.
        seed: of the shuffle.

    Returns:
        The labeled and the unlabeled names, both in shuffled order.

    Raises:
        ValueError: no names, a duplicate, a ratio that is below 1 or selects nothing, a split_id that is no int >= 0.

    Example:
        >>> names = [f'{number:02d}' for number in range(8)]
        >>> labeled, unlabeled = nested_split(names, ratio=4, split_id=0)
        >>> labeled, len(unlabeled)
        (['05', '01'], 6)
        >>> nested_split(names, ratio=2, split_id=0)[0][:2]  # the smaller set is inside the larger one
        ['05', '01']
    """
    _check_names(names)
    if not ratio >= 1:
        raise ValueError(f'ratio is a divisor and must be >= 1; got {ratio}')
    _check_split_id(split_id)
    number = int(len(names) / ratio)
    if number == 0:
        raise ValueError(f'ratio must be at most the number of names ({len(names)}) to label any; got {ratio}')
    if number % 8 == 1:
        number += 1
    shuffled = _shuffled(names, seed, times=split_id + 1)
    return shuffled[:number], shuffled[number:]


def balanced_split(
    names: Sequence[str], labels: Sequence[int], number: int, split_id: int = 0, seed: int = 7777
) -> tuple[list[str], list[str]]:
    """Split image names into labeled ones, equally many of each class, and unlabeled ones.

    The names of each class are sorted and then shuffled ``split_id + 1`` times by a fresh
    ``random.Random(f'{seed} {label}')``, so no class influences another. The first ``number / num_classes`` of each
    are labeled. For one split id, a smaller labeled set is the beginning of a larger one.

    Args:
        names: image names without duplicates, in any order.
        labels: the class of each name. Every class that occurs here gets an equal share.
        number: number of names to label, a multiple of the number of classes.
        split_id: any integer >= 0; each gives another split.
        seed: of the shuffle.

    Returns:
        The labeled names, cycling through the classes in ascending order, and the unlabeled names, sorted.

    Raises:
        ValueError: no names, a duplicate, not one label per name, a split_id that is no int >= 0, or a number that is
            no int >= 1, no multiple of the number of classes, or more than the smallest class allows.

    Example:
        >>> balanced_split(['a0', 'b0', 'c1', 'd1'], [0, 0, 1, 1], number=2)
        (['a0', 'c1'], ['b0', 'd1'])
    """
    _check_names(names)
    if len(labels) != len(names):
        raise ValueError(f'labels must hold one label for each of the {len(names)} names; got {len(labels)}')
    _check_split_id(split_id)
    by_class: dict[int, list[str]] = {label: [] for label in sorted(set(labels))}
    for name, label in zip(names, labels, strict=True):
        by_class[label].append(name)
    if isinstance(number, bool) or not isinstance(number, int) or number < 1 or number % len(by_class):
        raise ValueError(
            f'number must be a positive multiple of the number of classes ({len(by_class)}); got {number!r}'
        )
    share = number // len(by_class)
    for label, members in by_class.items():
        if len(members) < share:
            raise ValueError(
                f'number is too large for the data: class {label} has {len(members)} names, '
                f'{number} in {len(by_class)} classes need {share}'
            )
    taken = [_shuffled(members, f'{seed} {label}', split_id + 1)[:share] for label, members in by_class.items()]
    labeled = [name for turn in zip(*taken, strict=True) for name in turn]
    return labeled, sorted(set(names).difference(labeled))


def held_out(names: Sequence[str], classes: Sequence[Collection[int]], share: float, seed: int = 7777) -> list[str]:
    """Draw a share of labeled images, by class, to be set aside for choosing between checkpoints.

    The classes take turns from the rarest to the most frequent: each draws, from a fresh
    ``random.Random(f'{seed} {label}')``, until the drawn images show it in ``share`` of all images that do, rounded, at
    least one. The last image of a class is never drawn. Images without a class are not drawn.

    Args:
        names: image names without duplicates, in any order.
        classes: the classes that each image shows, such as its one class, or those of its pixels.
        share: share to draw, in (0, 1).
        seed: of the draws.

    Returns:
        The names that are drawn, sorted; at least one, and never all.

    Raises:
        ValueError: no names, a duplicate, not one entry of classes per name, share outside (0, 1), or no class that two
            images show.

    Example:
        >>> held_out(['a', 'b', 'c', 'd', 'e'], [[0], [0], [0, 1], [0, 1], [2]], share=0.4)
        ['a', 'c']
    """
    _check_names(names)
    if len(classes) != len(names):
        raise ValueError(f'classes must hold one entry for each of the {len(names)} names; got {len(classes)}')
    if not 0 < share < 1:
        raise ValueError(f'share must be in (0, 1); got {share}')
    of_class: dict[int, set[str]] = {}
    for name, own in zip(names, classes, strict=True):
        for label in own:
            of_class.setdefault(label, set()).add(name)
    drawn: set[str] = set()
    for label, members in sorted(of_class.items(), key=lambda item: (len(item[1]), item[0])):
        wanted = min(max(1, round(share * len(members))), len(members) - 1)
        for name in _shuffled(sorted(members - drawn), f'{seed} {label}', times=1):
            left = (of_class[other] - drawn for other in of_class if name in of_class[other])
            if len(members & drawn) < wanted and all(len(others) > 1 for others in left):
                drawn.add(name)
    if not drawn:
        raise ValueError(f'at least two images must show one class to hold one out; got {len(names)} image(s)')
    return sorted(drawn)


def stratified_split(
    classes_of: Mapping[str, Collection[int]], number: int, split_id: int = 0, seed: int = 7777
) -> tuple[list[str], list[str]]:
    """Take images out of a set so that both parts show each class in the same share of their images.

    Iterative stratification (Sechidis et al. 2011): the images of the rarest class are dealt out first, each to the
    part that lacks most of this class.

    Args:
        classes_of: the classes that each image shows; none if they are not known.
        number: how many images to take out, from 0 to all but one.
        split_id: any integer >= 0; each gives another split.
        seed: of the shuffle.

    Returns:
        The names that are left and those that are taken out, both in shuffled order.

    Raises:
        ValueError: no names, or a number or split_id outside its range.

    Example:
        >>> classes_of = {'u': [0], 'v': [0, 1], 'w': [0], 'x': [0, 1], 'y': [0], 'z': [0]}
        >>> left, out = stratified_split(classes_of, number=3)
        >>> [sum(1 in classes_of[name] for name in part) for part in (left, out)]
        [1, 1]
    """
    _check_names(list(classes_of))
    _check_split_id(split_id)
    if not 0 <= number < len(classes_of):
        raise ValueError(f'number must leave at least one of the {len(classes_of)} names; got {number}')
    order = _shuffled(list(classes_of), seed, split_id + 1)
    remaining = dict.fromkeys(order)
    sizes = [len(order) - number, number]
    total: Counter[int] = Counter(label for labels in classes_of.values() for label in set(labels))
    lacking = [{label: count * size / len(order) for label, count in total.items()} for size in sizes]
    taken = set()
    while remaining:
        counts = Counter(label for name in remaining for label in set(classes_of[name]))
        rarest = min(counts, key=lambda label: (counts[label], label), default=None)
        for name in [name for name in remaining if rarest is None or rarest in classes_of[name]]:
            wanted = [0.0 if rarest is None else lacking[part][rarest] for part in (0, 1)]
            part = max((0, 1), key=lambda part: (sizes[part] > 0, wanted[part], sizes[part]))
            sizes[part] -= 1
            for label in set(classes_of[name]):
                lacking[part][label] -= 1
            if part == 1:
                taken.add(name)
            del remaining[name]
    return [name for name in order if name not in taken], [name for name in order if name in taken]


def difference_maximised_sampling(
    names: Sequence[str], alpha: float = 0.8, seed: int = 7777
) -> tuple[list[str], list[str]]:
    """Draw two overlapping labeled sets that make two models of one architecture differ (arXiv 2004.08514).

    The names are sorted and shuffled once; A gets the first and B the last ``round(alpha * len(names))``, at least 1.

    Args:
        names: labeled image names without duplicates, in any order.
        alpha: share of the names that each model gets, in (0, 1].
        seed: of the shuffle.

    Returns:
        The names for model A and the names for model B, in shuffled order.

    Raises:
        ValueError: no names, a duplicate, alpha outside (0, 1].

    Example:
        >>> difference_maximised_sampling(['u', 'v', 'w', 'x', 'y'], alpha=0.6)
        (['u', 'x', 'y'], ['y', 'w', 'v'])
    """
    _check_names(names)
    if not 0 < alpha <= 1:
        raise ValueError(f'alpha must be in (0, 1]; got {alpha}')
    number = max(1, round(alpha * len(names)))
    shuffled = _shuffled(names, seed, times=1)
    return shuffled[:number], shuffled[-number:]


def _shuffled(names: Sequence[str], seed: int | str, times: int) -> list[str]:
    shuffled = sorted(names)
    generator = random.Random(seed)
    for _ in range(times):
        generator.shuffle(shuffled)
    return shuffled


MOST_SPLITS = 1000
"""Each split shuffles the names once more than the one before it."""


def _check_split_id(split_id: int) -> None:
    if isinstance(split_id, bool) or not isinstance(split_id, int) or split_id < 0:
        raise ValueError(f'split_id must be an int >= 0; got {split_id!r}')
    if split_id >= MOST_SPLITS:
        raise ValueError(f'split_id must be below {MOST_SPLITS}; got {split_id} (for other splits, set seed)')


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise ValueError('names must hold at least one image name; got none')
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f'names must be unique; got {name!r} more than once')
        seen.add(name)
