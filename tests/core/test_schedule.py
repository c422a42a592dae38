import dataclasses

import pytest

from mmdmt.core.schedule import Phase, plan


def test_mutual_by_hand():
    assert plan('mutual', ['a', 'b'], [0.2, 1]) == [
        Phase('00_train_a', 'train', 0, 'a', None, None, None),
        Phase('00_train_b', 'train', 0, 'b', None, None, None),
        Phase('01_label_a', 'label', 1, 'a', '00_train_a', None, 0.2),
        Phase('01_train_b', 'train', 1, 'b', '00_train_b', '01_label_a', 0.2),
        Phase('01_label_b', 'label', 1, 'b', '00_train_b', None, 0.2),
        Phase('01_train_a', 'train', 1, 'a', '00_train_a', '01_label_b', 0.2),
        Phase('02_label_a', 'label', 2, 'a', '01_train_a', None, 1),
        Phase('02_train_b', 'train', 2, 'b', '01_train_b', '02_label_a', 1),
        Phase('02_label_b', 'label', 2, 'b', '01_train_b', None, 1),
        Phase('02_train_a', 'train', 2, 'a', '01_train_a', '02_label_b', 1),
    ]


def test_self_by_hand():
    assert plan('self', ['coco'], [0.5, 1]) == [
        Phase('00_train_coco', 'train', 0, 'coco', None, None, None),
        Phase('01_label_coco', 'label', 1, 'coco', '00_train_coco', None, 0.5),
        Phase('01_train_coco', 'train', 1, 'coco', '00_train_coco', '01_label_coco', 0.5),
        Phase('02_label_coco', 'label', 2, 'coco', '01_train_coco', None, 1),
        Phase('02_train_coco', 'train', 2, 'coco', '01_train_coco', '02_label_coco', 1),
    ]


def test_chain_by_hand():
    assert plan('chain', ['f'], (0.5, 1.0)) == [
        Phase('00_train_f', 'train', 0, 'f', None, None, None),
        Phase('01_label_f', 'label', 1, 'f', '00_train_f', None, 0.5),
        Phase('01_train_f', 'train', 1, 'f', None, '01_label_f', 0.5),
        Phase('02_label_f', 'label', 2, 'f', '01_train_f', None, 1.0),
        Phase('02_train_f', 'train', 2, 'f', None, '02_label_f', 1.0),
    ]


def test_single_by_hand():
    first = Phase('00_train_a', 'train', 0, 'a', None, None, None)
    assert plan('single', ['a'], []) == [first, Phase('01_train_a', 'train', 1, 'a', '00_train_a', None, None)]
    assert plan('single', ['a'], [], reinitialise=True)[1].init is None
    assert [phase.supervised for phase in plan('single', ['a'], [])] == [True, False]
    assert plan('single', ['a'], [])[1].teacher is None
    assert plan('single', ['a'], [], baseline=False) == [Phase('01_train_a', 'train', 1, 'a', None, None, None)]


@pytest.mark.parametrize('scheme', ['self', 'chain'])
def test_other_schemes_need_a_baseline(scheme):
    with pytest.raises(ValueError, match=f"scheme '{scheme}' needs a baseline"):
        plan(scheme, ['a'], [1.0], baseline=False)


def test_reinitialised_mutual_by_hand():
    assert plan('mutual', ['a', 'b'], [0.2, 1], reinitialise=True) == [
        Phase('00_train_a', 'train', 0, 'a', None, None, None),
        Phase('00_train_b', 'train', 0, 'b', None, None, None),
        Phase('01_label_a', 'label', 1, 'a', '00_train_a', None, 0.2),
        Phase('01_train_b', 'train', 1, 'b', None, '01_label_a', 0.2),
        Phase('01_label_b', 'label', 1, 'b', '00_train_b', None, 0.2),
        Phase('01_train_a', 'train', 1, 'a', None, '01_label_b', 0.2),
        Phase('02_label_a', 'label', 2, 'a', '01_train_a', None, 1),
        Phase('02_train_b', 'train', 2, 'b', None, '02_label_a', 1),
        Phase('02_label_b', 'label', 2, 'b', '01_train_b', None, 1),
        Phase('02_train_a', 'train', 2, 'a', None, '02_label_b', 1),
    ]


@pytest.mark.parametrize(('scheme', 'models'), [('mutual', ['a', 'b']), ('self', ['a'])])
def test_reinitialise_changes_nothing_but_what_training_starts_from(scheme, models):
    ratios = [0.3, 0.6, 1]
    for tuned, anew in zip(plan(scheme, models, ratios), plan(scheme, models, ratios, reinitialise=True), strict=True):
        assert anew == (dataclasses.replace(tuned, init=None) if tuned.kind == 'train' else tuned)
        assert anew.teacher == tuned.teacher
        assert (anew == tuned) == (tuned.kind == 'label' or tuned.iteration == 0)


def test_reinitialised_self_is_a_chain():
    chain = plan('chain', ['f'], [0.5, 1])
    assert plan('self', ['f'], [0.5, 1], reinitialise=True) == chain
    assert plan('chain', ['f'], [0.5, 1], reinitialise=True) == chain


@pytest.mark.parametrize(
    ('name', 'inputs', 'teacher'),
    [
        ('00_train_a', (), None),
        ('02_label_a', ('01_train_a',), None),
        ('02_train_b', ('01_train_b', '02_label_a'), 'a'),
        ('02_train_a', ('01_train_a', '02_label_b'), 'b'),
    ],
)
def test_inputs_and_teacher(name, inputs, teacher):
    phase = {phase.name: phase for phase in plan('mutual', ['a', 'b'], [0.2, 1])}[name]
    assert phase.inputs == inputs
    assert phase.teacher == teacher


def test_chain_waits_only_for_its_labels():
    assert plan('chain', ['f'], [1])[-1].inputs == ('01_label_f',)


@pytest.mark.parametrize('iterations', [1, 5, 11])
@pytest.mark.parametrize(('scheme', 'models'), [('mutual', ['x', 'y_label_z']), ('self', ['a-1']), ('chain', ['a_1'])])
def test_every_plan_is_runnable_in_order(scheme, models, iterations):
    phases = plan(scheme, models, [(index + 1) / iterations for index in range(iterations)])
    assert len(phases) == len(models) * (1 + 2 * iterations)
    by_name = {phase.name: phase for phase in phases}
    assert len(by_name) == len(phases)
    done = set()
    for phase in phases:
        assert set(phase.inputs) <= done
        done.add(phase.name)
        assert phase.name == f'{phase.iteration:02d}_{phase.kind}_{phase.model}'
        if phase.init is not None:
            assert by_name[phase.init].kind == 'train'
            assert by_name[phase.init].model == phase.model
            assert by_name[phase.init].iteration == phase.iteration - 1
        if phase.kind == 'train' and phase.iteration:
            assert phase.teacher == by_name[phase.labels].model
            assert (phase.teacher != phase.model) == (scheme == 'mutual')


def test_phase_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan('self', ['a'], [1])[0].name = 'other'


@pytest.mark.parametrize(
    ('scheme', 'models', 'ratios', 'message'),
    [
        ('both', ['a', 'b'], [1], "'mutual', 'self', 'chain'.*'both'"),
        ('mutual', ['a'], [1], r"'mutual' takes exactly 2 .*got 1: \['a'\]"),
        ('mutual', ['a', 'b', 'c'], [1], 'exactly 2 .*got 3'),
        ('self', ['a', 'b'], [1], "'self' takes exactly 1 .*got 2"),
        ('chain', [], [1], "'chain' takes exactly 1 .*got 0"),
        ('mutual', ['a', 'a'], [1], r"unique; got \['a', 'a'\]"),
        ('mutual', ['a', 'B'], [1], r"\[a-z\].*got 'B'"),
        ('self', ['1a'], [1], "got '1a'"),
        ('self', ['a/b'], [1], "got 'a/b'"),
        ('self', [''], [1], "got ''"),
        ('self', ['a\n'], [1], r"got 'a\\n'"),
        ('mutual', 'ab', [1], "the string 'ab'"),
        ('single', ['a', 'b'], [], "'single' takes exactly 1 .*got 2"),
        ('single', ['a'], [0.5], r'no label_ratios; got \[0.5\]'),
        ('self', ['a'], [], r'at least one .*\(0, 1\]'),
        ('self', ['a'], [0, 1], r'\(0, 1\]; got 0 in'),
        ('self', ['a'], [0.5, 1.5], r'\(0, 1\]; got 1.5 in'),
        ('self', ['a'], [0.4, 0.4], 'increasing; got 0.4 in'),
        ('self', ['a'], [0.4, 0.2], 'increasing; got 0.2 in'),
    ],
)
def test_bad_plans_are_refused(scheme, models, ratios, message):
    with pytest.raises(ValueError, match=message):
        plan(scheme, models, ratios)
