import inspect
import json
import sys

import pytest

from mmdmt.analysis.measuring import Figure
from tools import benchmark


@pytest.fixture
def call(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', ['benchmark.py', *map(str, arguments)])
        benchmark.main(benchmark.parse_args())
        return capsys.readouterr().out

    return call


def test_chosen_figures_as_table_and_json(call, monkeypatch, tmp_path):
    def figures(meter, folder):
        assert (meter.device.type, meter.repeats, folder.name) == ('cpu', 3, 'loss')
        return [Figure('loss', 'cross-entropy', 0.8123, '1 ms')]

    monkeypatch.setitem(benchmark.BENCHMARKS, 'loss', figures)
    out = call('--only', 'loss', '--repeats', 3, '--json', tmp_path / 'figures.json')
    assert out.splitlines()[2:] == ['| loss | cross-entropy | 0.812 | 1 ms |']
    assert json.loads((tmp_path / 'figures.json').read_text()) == {
        'device': 'cpu',
        'figures': [dict(work='loss', against='cross-entropy', ratio=0.8123, note='1 ms')],
    }


@pytest.mark.parametrize('name', list(benchmark.BENCHMARKS))
def test_every_benchmark_passes_arguments_that_fit(monkeypatch, tmp_path, name):
    seen = []
    for module in (benchmark.config_cost, benchmark.overhead, benchmark.start_cost, benchmark.step_cost):
        for function in [key for key in vars(module) if key[0] != '_' and key.endswith(('_figure', '_figures'))]:
            original = getattr(module, function)
            monkeypatch.setattr(
                module, function, lambda *a, _f=original: seen.append(inspect.signature(_f).bind(*a)) or []
            )
    benchmark.BENCHMARKS[name](benchmark.Meter(), tmp_path)
    assert len(seen) == 1


@pytest.mark.parametrize(
    ('arguments', 'message'), [(['--repeats', 0], '--repeats must be above 0, got 0'), (['--device', 'cuda'], 'no GPU')]
)
def test_refused(call, monkeypatch, arguments, message):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    with pytest.raises(ValueError, match=message):
        call(*arguments)


@pytest.mark.parametrize(('device', 'expected'), [('cpu', False), ('cuda', True)])
def test_full_size_by_default_on_a_gpu_only(call, monkeypatch, device, expected):
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    measured = []
    for name in benchmark.BENCHMARKS:
        monkeypatch.setitem(benchmark.BENCHMARKS, name, lambda *_, _name=name: measured.append(_name) or [])
    call('--device', device)
    assert ('configs' in measured) == expected
    assert {'loss', 'methods'} < set(measured)
