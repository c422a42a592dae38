from mmdmt.experiments.jobs import ANY_MODEL, Job, plan_jobs, ready

PLAN = dict(
    seeds=(3, 0),
    models={'set': ['a', 'b']},
    methods={'set': {'self': [('a',), ('b',)], 'dmt': [('a', 'b')]}},
    oracles={'set': [ANY_MODEL]},
    control=True,
)


def test_jobs_and_what_they_need():
    jobs = plan_jobs(**PLAN)
    expected = {
        'baseline_a': (),
        'baseline_b': (),
        'self_a': ('baseline_a',),
        'self_b': ('baseline_b',),
        'dmt': ('baseline_a', 'baseline_b'),
        'control_a': ('baseline_a',),
        'control_b': ('baseline_b',),
        'oracle': (),
    }
    assert [(job.name, job.needs) for job in jobs] == [
        (f'set/seed{seed}/{name}', tuple(f'set/seed{seed}/{need}' for need in needs))
        for seed in (3, 0)
        for name, needs in expected.items()
    ]
    assert jobs[2] == Job('set', 3, 'method', 'self', ('a',), ('set/seed3/baseline_a',))


def test_a_method_with_labels_only_is_a_control():
    methods = {'set': {'labels': [('a',), ('b',)], 'dmt': [('a', 'b')]}}
    jobs = plan_jobs(**{**PLAN, 'methods': methods}, labels_only=['labels'])
    assert [(job.role, job.method, job.name) for job in jobs[2:5]] == [
        ('control', 'labels', 'set/seed3/labels_a'),
        ('control', 'labels', 'set/seed3/labels_b'),
        ('method', 'dmt', 'set/seed3/dmt'),
    ]
    assert jobs[3].needs == ('set/seed3/baseline_b',)


def test_methods_that_start_from_baselines_of_another_kind():
    """These come before what needs them; a baseline that nothing needs is left out, but for the first model's."""
    methods = {'set': {'self': [('a',)], 'dmt': [('a', 'b')], 'all': [('a',)], 'half': [('a',), ('b',)]}}
    jobs = plan_jobs(
        **{**PLAN, 'seeds': (0,), 'methods': methods, 'control': False},
        supervised_only=['all', 'half'],
        baselines={'set': {'self': 'all', 'dmt': 'half'}},
    )
    found = [(job.name.removeprefix('set/seed0/'), job.role, job.needs) for job in jobs]
    assert found == [
        ('baseline_a', 'baseline', ()),
        ('all_a', 'baseline', ()),
        ('half_a', 'baseline', ()),
        ('half_b', 'baseline', ()),
        ('self_a', 'method', ('set/seed0/all_a',)),
        ('dmt', 'method', ('set/seed0/half_a', 'set/seed0/half_b')),
        ('oracle', 'oracle', ()),
    ]


def test_oracles_of_models_and_no_control():
    jobs = plan_jobs(**{**PLAN, 'seeds': (0,), 'oracles': {'set': ['a', 'b']}, 'control': False})
    assert [job.name.rsplit('/')[-1] for job in jobs if job.role != 'method'] == [
        'baseline_a', 'baseline_b', 'oracle_a', 'oracle_b'
    ]  # fmt: skip


def test_several_data_sets_alternate_within_a_seed():
    both = {'first': ['a', 'b'], 'second': ['model']}
    jobs = plan_jobs(
        (0, 1),
        both,
        {'first': {'dmt': [('a', 'b')]}, 'second': {'dmt': [('model',)]}},
        {'first': [], 'second': []},
        False,
    )
    found = list(dict.fromkeys(job.name.rsplit('/', 1)[0] for job in jobs))
    assert found == ['first/seed0', 'second/seed0', 'first/seed1', 'second/seed1']


def test_a_job_is_ready_once_all_it_needs_is_complete():
    jobs = [job for job in plan_jobs(**{**PLAN, 'seeds': (0,)}) if job.role in ('baseline', 'method')]

    def names(started, complete):
        found = ready(jobs, {f'set/seed0/{name}' for name in started}, {f'set/seed0/{name}' for name in complete})
        return [job.name.removeprefix('set/seed0/') for job in found]

    assert names([], []) == ['baseline_a', 'baseline_b']
    assert names(['baseline_a', 'baseline_b'], []) == []
    assert names(['baseline_a', 'baseline_b'], ['baseline_b']) == ['self_b']
    assert names(['baseline_a', 'baseline_b', 'self_b'], ['baseline_a', 'baseline_b']) == ['self_a', 'dmt']
