from mmdmt.experiments.cost import EXPLANATION, Cost, cost_of, render_cost


def test_phases_are_added_up():
    records = [
        dict(phase='00_train_a', metrics={}),  # taken over: not measured
        dict(steps=10, cpu_seconds=6.0, memory_mib=300),
        dict(images=5, cpu_seconds=1.5, memory_mib=500),
        dict(steps=30, cpu_seconds=12.0, memory_mib=400, gpu_memory_mib=2000),
    ]
    assert cost_of(records) == Cost(40, 18.0, 1.5, 500, 2000)
    assert cost_of(records[:1]) is None


def test_table():
    # Control steps: A 0.1 s, 0.2 s; B 0.3 s. DMT trains both: 0.4 s for a mean of 0.2 s. FixMatch: 2x and 3x.
    costs = {
        ('dmt', 'a+b'): {0: Cost(100, 40.0, 20.0, 600, 0)},
        ('fixmatch', 'a'): {0: Cost(100, 20.0, 0.0, 500, 0), 1: Cost(100, 60.0, 0.0, 700, 0)},
        ('new', 'c'): {0: Cost(0, 0.0, 6.0, 100, 0)},
        ('control', 'a'): {0: Cost(100, 10.0, 0.0, 400, 0), 1: Cost(100, 20.0, 0.0, 400, 0)},
        ('control', 'b'): {0: Cost(10, 3.0, 0.0, 400, 0)},
    }
    assert (
        render_cost(costs)
        == """\
| method   | models | steps | CPU min | of it labels | to a step of labels only | memory, MiB |
| -------- | ------ | ----- | ------- | ------------ | ------------------------ | ----------- |
| dmt      | a+b    | 100   | 1.0     | 0.3          | 2.00x                    | 600         |
| fixmatch | a      | 100   | 0.7     | 0.0          | 3.00x                    | 600         |
| new      | c      | 0     | 0.1     | 0.1          | -                        | 100         |
| control  | a      | 100   | 0.2     | 0.0          | 1.00x                    | 400         |
| control  | b      | 10    | 0.1     | 0.0          | 1.00x                    | 400         |

"""
        + EXPLANATION
    )


def test_memory_of_a_gpu_is_shown_where_there_is_one():
    lines = render_cost({('control', 'a'): {0: Cost(1, 1.0, 0.0, 100, 900)}}).splitlines()
    assert lines[0].endswith('| GPU memory, MiB |')
    assert lines[2].endswith('| 900             |')
