import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from mmdmt.engine import screen as screen_module
from mmdmt.engine.screen import LiveScreen, PlainScreen, Screen, screen_for


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(screen_module.time, 'monotonic', lambda: now[0])
    return now


@pytest.fixture
def terminal():
    """``terminal(width)``: a live screen and what is written to it, without control codes."""

    def make(width):
        file = io.StringIO()
        console = Console(file=file, force_terminal=True, width=width, color_system=None)
        states = lambda: [part for part in re.split(r'\x1b\[[?\d]*[a-zA-Z]|\r', file.getvalue()) if part.strip()]  # noqa: E731
        return LiveScreen(console), states

    return make


def advance(screen, clock, done, seconds):
    clock[0] += seconds
    if screen.due(done):
        screen.show(done, ['loss 1.5', '0:00:10 left'])


def test_plain_lines_every_30_seconds(clock, capsys):
    screen = PlainScreen()
    screen.begin('3/22 01_train_b', 100, 'steps')
    for step in range(1, 101):
        advance(screen, clock, step, 1.0)
    screen.end()
    lines = [line[16:] for line in capsys.readouterr().out.splitlines()]
    assert lines == [f'3/22 01_train_b: {done}/100 steps, loss 1.5, 0:00:10 left' for done in (30, 60, 90)]


def test_long_phases_have_few_lines(clock, capsys):
    """100 hours: a line every tenth of the phase, and one every 10 minutes, not 12,000."""
    screen = PlainScreen()
    screen.begin('1/1 01_train_a', 360_000, 'steps')
    for step in range(100, 360_001, 100):
        advance(screen, clock, step, 100.0)
    assert len(capsys.readouterr().out.splitlines()) == 600


def test_short_phases_have_none(clock, capsys):
    screen = PlainScreen()
    for number in range(1, 11):
        screen.begin(f'{number}/10', 4, 'images')
        for step in range(1, 5):
            advance(screen, clock, step, 5.0)
    assert capsys.readouterr().out == ''


def test_live_line(clock, terminal):
    screen, states = terminal(80)
    screen.begin('3/22 01_train_b', 400, 'steps')
    advance(screen, clock, 120, 1.0)
    advance(screen, clock, 121, 0.1)  # too soon
    screen.say('above')
    screen.end()
    assert states()[0].rstrip() == '3/22 01_train_b 0/400 steps'
    assert states()[1].rstrip() == '3/22 01_train_b 120/400 steps  loss 1.5  0:00:10 left'
    assert states()[2].startswith('above\n')
    assert not [state for state in states() if '121/400' in state]
    screen.show(130, [])  # after its end
    assert not [state for state in states() if '130/400' in state]


@pytest.mark.parametrize('width', [40, 80, 120, 140])
def test_live_line_is_one_line(clock, terminal, width):
    screen, states = terminal(width)
    screen.begin('13/22 03_train_b', 40_000, 'steps')
    clock[0] += 1
    screen.show(39_000, ['loss 0.312', '1 day, 0:00:23 of 2 days, 1:12:10 left', '12.3 steps/s', '11.2 GiB'])
    state = states()[1]
    assert '\n' not in state
    assert len(state) <= width
    assert '13/22 03_train_b 39000/40000' in state
    assert ('…' in state) == (width < 131)
    assert ('━' in state) == (width >= 100)
    screen.end()


def test_what_is_printed_stays_above_the_line(clock, terminal):
    screen, states = terminal(80)
    screen.begin('1/2 00_train_a', 4, 'steps')
    print('a warning')
    screen.end()
    assert [state for state in states() if state.startswith('a warning\n')]


@pytest.mark.parametrize(
    ('level', 'terminal', 'main', 'expected'),
    [
        ('INFO', True, True, LiveScreen),
        (20, False, True, PlainScreen),
        ('INFO', True, False, Screen),
        ('WARNING', True, True, Screen),
        ('DEBUG', False, True, Screen),
    ],
)
def test_screen_for(monkeypatch, level, terminal, main, expected):
    monkeypatch.setattr(screen_module, 'is_main_process', lambda: main)
    monkeypatch.setattr(screen_module, 'sys', SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: terminal)))
    assert type(screen_for(level)) is expected


def test_nothing_is_shown(capsys):
    screen = Screen()
    screen.begin('x', 1, 'steps')
    assert not screen.due(1)
    screen.show(1, [])
    screen.say('x')
    screen.end()
    assert capsys.readouterr().out == ''
