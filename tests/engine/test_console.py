import io
import logging

import pytest
from mmengine.logging import MMLogger, print_log

from mmdmt.engine.console import FILE_ONLY, NOTICES, PRINTED, TABLES, drop_printed_chatter, show


@pytest.fixture
def logged(tmp_path, capsys):
    """``logged(message, level, log_level, ..)``: what the screen and the log file get."""

    def log(message, level=logging.INFO, log_level='INFO', extra=None, **options):
        path = tmp_path / 'log'
        logger = MMLogger('test', log_file=str(path), log_level=log_level)
        show(logger, **options)
        logger.log(level, message, extra=extra)
        return capsys.readouterr().out, path.read_text()

    return log


@pytest.mark.parametrize('message', ['Config:\nx = 1', 'Hooks will be executed', 'per class results:', '\n+----+'])
def test_information_is_in_the_file_only(logged, message):
    screen, file = logged(message)
    assert (screen, message in file) == ('', True)


@pytest.mark.parametrize('level', [logging.WARNING, logging.ERROR])
def test_warnings_and_errors_are_on_both(logged, level):
    screen, file = logged('The disk is full', level)
    assert f' - mmengine - {logging.getLevelName(level)} - ' in screen
    assert screen.endswith('The disk is full\n')
    assert file.endswith('The disk is full\n')


@pytest.mark.parametrize('beginning', NOTICES)
def test_warnings_without_a_consequence_are_in_the_file_only(logged, beginning):
    screen, file = logged(beginning + ' x', logging.WARNING)
    assert (screen, beginning + ' x' in file) == ('', True)
    assert beginning in logged(beginning, logging.ERROR)[0]


def test_the_run_says_something(logged):
    screen, file = logged('22 phases', least=logging.INFO)
    assert screen[14:] == '  22 phases\n'  # after day and time
    assert 'mmengine - INFO - 22 phases' in file
    screen, file = logged('a note', least=logging.INFO, extra=FILE_ONLY)
    assert (screen, 'a note' in file) == ('', True)


@pytest.mark.parametrize('table', TABLES)
def test_tables_of_results(logged, table):
    assert table in logged(table, results=True)[0]


def test_debugging_shows_all(logged):
    screen, _ = logged('Config:', log_level='DEBUG', extra=FILE_ONLY)
    assert 'mmengine - ' in screen
    assert 'Config:' in screen
    assert 'a detail' in logged('a detail', logging.DEBUG, 'DEBUG')[0]


def test_less_than_information(logged):
    assert logged('22 phases', log_level='WARNING', least=logging.INFO)[0] == ''


def test_the_screen_is_the_output_of_the_moment(tmp_path, monkeypatch):
    """While a live line is shown, rich puts its own in place of the standard output."""
    logger, output = MMLogger('test'), io.StringIO()
    show(logger)
    monkeypatch.setattr('sys.stdout', output)
    logger.warning('late')
    assert output.getvalue().endswith('late\n')


def test_lines_that_the_toolboxes_print(capsys):
    drop_printed_chatter()
    for line in PRINTED:
        print_log(f'{line} x')
    print_log('Something else')
    assert capsys.readouterr().out == 'Something else\n'
