import pytest

from mmdmt.errors import UserError
from mmdmt.experiments.plan import DataSet, ExperimentPlan, Method

PLAN = """
seeds = (0, 1)
data_sets = dict(
    camvid=dict(
        config='{config}', data_root='elsewhere', oracle=dict(a='{config}', b='{config}'),
        options={{'dmt.semi.iters': 3}}, frequent_classes=('road', 'car'), label_images=7),
    digits=dict(config='{config}', oracle='{config}'))
methods = dict(
    cbst=dict(loss=dict(gamma1=0.0), self_training=('a', 'b')),
    flip=dict(config='{folder}/flip_{{data_set}}.py', options={{'dmt.label_ratios': (1.0,)}}))
"""


@pytest.fixture
def read(tmp_path):
    """Read the plan above with some text in it replaced."""
    for name in ('dmt', 'flip_camvid', 'flip_digits'):
        (tmp_path / f'{name}.py').write_text('x = 1\n')

    def read(**replaced):
        text = PLAN.format(config=tmp_path / 'dmt.py', folder=tmp_path)
        for old, new in replaced.pop('text', []):
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / 'plan.py'
        path.write_text(text)
        return ExperimentPlan.from_file(path)

    return read


def test_plan(read, tmp_path):
    plan, config = read(), str(tmp_path / 'dmt.py')
    assert (plan.seeds, plan.control, plan.seed_keys) == ((0, 1), True, None)
    assert plan.data_sets == {
        'camvid': DataSet(
            config=config,
            options={'dmt.semi.iters': 3},
            data_root='elsewhere',
            oracle={'a': config, 'b': config},
            frequent_classes=('road', 'car'),
            label_images=7,
        ),
        'digits': DataSet(config=config, oracle={'-': config}),
    }
    assert plan.methods['cbst'] == Method(loss={'gamma1': 0.0}, self_training=('a', 'b'))
    assert plan.methods['flip'].options == {'dmt.label_ratios': (1.0,)}
    assert plan.method_config('camvid', 'cbst') == config
    assert plan.method_config('camvid', 'flip') == str(tmp_path / 'flip_camvid.py')


@pytest.mark.parametrize('name', ['cifar10', 'digits', 'methods_digits', 'plain_camvid', 'real_images'])
def test_shipped_plans(root, monkeypatch, name):
    monkeypatch.chdir(root)  # paths in a plan are relative to where the tool is started
    plan = ExperimentPlan.from_file(f'configs/experiments/{name}.py')
    assert plan.control


def test_shipped_plan_elsewhere(monkeypatch, tmp_path):
    """Its configs, also those of its methods, are found in the package where the folder has none of that name."""
    monkeypatch.chdir(tmp_path)
    plan = ExperimentPlan.from_file('mmdmt::experiments/methods_digits.py')
    assert plan.method_config('digits', 'fixmatch') == 'configs/fixmatch/digits.py'
    assert any(method.loss == dict(gamma1=0.0, gamma2=0.0) for method in plan.methods.values())


# Tables of the paper, by plan: data sets, methods, seeds.
PAPER = {
    'voc': (4, ['baseline-all', 'dmt'], 3),
    'human_labels': (1, ['dmt'], 3),
    'cityscapes': (2, ['dmt'], 3),
    'cifar10': (2, ['cl', 'dmt'], 5),
    'ablations': (2, ['baseline-all', 'online-st', 'cbst', 'dst', 'naive', 'dmt', 'flip'], 3),
}


@pytest.mark.parametrize('name', PAPER)
def test_plans_of_the_paper(root, monkeypatch, name):
    monkeypatch.chdir(root)
    plan = ExperimentPlan.from_file(f'configs/experiments/paper_{name}.py')
    assert (len(plan.data_sets), list(plan.methods), len(plan.seeds)) == PAPER[name]
    assert not plan.control
    assert {'baseline', 'dmt'} <= plan.published.rows.keys()
    # Each method of the plan has its row; what is no Baseline of the paper's has none.
    assert set(plan.methods) - {'baseline-all'} <= plan.published.rows.keys()
    assert all(plan.published.rows[method].values.keys() == plan.data_sets.keys() for method in ('baseline', 'dmt'))


def test_variables_of_the_file(read):
    plan = read(text=[('methods = dict(', '_none = dict(gamma1=0.0)\nmethods = dict(other=dict(loss=_none),')])
    assert plan.methods['other'].loss == {'gamma1': 0.0}


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('seeds = (0, 1)', 'seeds = (0, 1, 0)', r'seeds must hold each value once, got 0 2 times in \(0, 1, 0\)'),
        ('seeds = (0, 1)', 'seeds = ()', r'seeds must be a list of at least 1, got \(\)'),
        ('seeds = (0, 1)', '', 'plan.py: seeds is missing'),
        ('seeds = (0, 1)', 'seeds = (0, 0.5)', 'seeds.1 must be a whole number, got 0.5'),
        ('seeds = (0, 1)', 'seeds = (0,)\nsedes = 1', 'plan.py: it has unknown key.* sedes .did you mean seeds'),
        ('data_sets = dict(', 'data_sets = dict()\nx = dict(', 'unknown key.* x'),
        ('methods = dict(', 'data_sets = {}\nmethods = dict(', 'data_sets must have at least one entry, got {}'),
        ('methods = dict(', 'methods = {}\nif True: dict(', 'methods must have at least one entry, got {}'),
        ('cbst=dict(', "cbst=dict(gamma=1, ", 'methods.cbst has unknown key.* gamma; allowed are baseline, config,'),
        ('cbst=dict(', "cbst=dict(labels_only=1, ", 'methods.cbst.labels_only must be True or False, got 1'),
        ('cbst=dict(', "oracle=dict(", "methods must not hold 'oracle': baseline, control, oracle are reserved names"),
        ('cbst=', "**{'a/b': dict()}, cbst=", "methods must hold names that are valid folder names .* got 'a/b'"),
        ("('a', 'b'))", "('a', 'a'))", r"methods.cbst.self_training must hold each value once, got 'a' 2 times"),
        ("('a', 'b'))", "'ab')", "methods.cbst.self_training must be a list, got 'ab'"),
        ('loss=dict(gamma1=0.0)', 'loss=0', 'methods.cbst.loss must be a dict, got 0'),
        ('digits=dict(config=', 'digits=dict(confg=', 'data_sets.digits has unknown key.* confg'),
        ('digits=dict(config=', 'digits=dict(data_root=', 'data_sets.digits.config is missing'),
        ('label_images=7', 'label_images=-1', 'data_sets.camvid.label_images must be at least 0, got -1'),
        ('label_images=7', 'label_images=0.5', 'data_sets.camvid.label_images must be a whole number, got 0.5'),
        ("methods =", "control = 'yes'\nmethods =", "control must be True or False, got 'yes'"),
        ('digits=dict(', "digits=dict(oracle_of='camvid', ", "oracle_of='camvid', but the data set has an oracle"),
        ('digits=dict(', "new=dict(config='{config}', oracle_of='no'), digits=dict(",
         "data_sets.new.oracle_of: 'no' is not one of camvid, digits"),
        ('cbst=dict(', "cbst=dict(data_sets=('camvid', 'x'), ", "cbst.data_sets: 'x' is not one of camvid, digits"),
        ('cbst=dict(', "cbst=dict(baseline='flip', ", "methods.cbst.baseline: 'flip' is not one of baseline"),
        ('cbst=dict(', "cbst=dict(supervised_only=('a',), ", 'methods.cbst.supervised_only excludes self_training'),
        ('methods =', 'published = dict(rows=dict(dmt=dict(values={})))\nmethods =', 'published.source is missing'),
        ('methods =', "published = dict(source='', rows={})\nmethods =", 'published.source'),
        ('methods =', "published = dict(source='T', rows={})\nmethods =", 'published.rows must have at least one'),
        ('methods =', "published = dict(source='T', rows=dict(dmt=dict(values=dict(voc=1.0))))\nmethods =",
         "published.rows.dmt.values: 'voc' is not one of camvid, digits"),
        ('methods =', "published = dict(source='T', rows=dict(dmt=dict(values=dict(digits=101.0))))\nmethods =",
         'published.rows.dmt.values.digits must be at most 100, got 101'),
        ('methods =', "published = dict(source='T', rows=dict(dmt=dict(values=dict(digits='1'))))\nmethods =",
         "published.rows.dmt.values.digits must be a number, got '1'"),
        ('methods =', "published = dict(source='T', rows=dict(dmt=dict(value=dict(digits=1.0))))\nmethods =",
         'published.rows.dmt .*unknown key.* value'),
    ],
)  # fmt: skip
def test_bad_plans(read, tmp_path, old, new, message):
    with pytest.raises(ValueError, match=message):
        read(text=[(old, new.replace('{config}', str(tmp_path / 'dmt.py')))])


def test_baselines_of_another_kind(read):
    """Where it does not run, the common baselines are what a method starts from."""
    text = "cbst=dict(baseline='all', loss"
    new = "methods = dict(all=dict(supervised_only=('a',), data_sets=('digits',)),"
    plan = read(text=[('cbst=dict(loss', text), ('methods = dict(', new)])
    assert plan.data_sets_of('all') == ('digits',)
    assert plan.data_sets_of('cbst') == ('camvid', 'digits')
    assert (plan.baseline_of('digits', 'cbst'), plan.baseline_of('camvid', 'cbst')) == ('all', 'baseline')
    assert plan.baseline_of('digits', 'flip') == 'baseline'


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('flip_{data_set}', 'flop_{data_set}', r"methods.flip.config names config '.*flop_camvid.py', which does not"),
        ("config='", "config='no/", "data_sets.camvid.config names config 'no/.*', which does not exist"),
        ("oracle='", "oracle='no/", "data_sets.digits.oracle.- names config 'no/.*', which does not exist"),
    ],
)
def test_missing_files(read, old, new, message):
    with pytest.raises(ValueError, match=message):
        read(text=[(old, new)])


@pytest.mark.parametrize('name', ['dmt/wrn10-1_digits.py', 'baselines/oracle_wrn10-1_digits.py'])
def test_config_in_place_of_a_plan(root, name):
    with pytest.raises(UserError, match=r'wrn10-1_digits\.py is the config of a run, not a plan of experiments'):
        ExperimentPlan.from_file(root / 'configs' / name)


def test_missing_plan(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no_plan\.py does not exist'):
        ExperimentPlan.from_file(tmp_path / 'no_plan.py')
