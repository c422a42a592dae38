import io
import logging

import pytest
from mmengine.logging import print_log

from mmdmt.engine.console import FILE_ONLY, PRINTED, drop_printed_chatter, keep_chatter_in_files


@pytest.fixture
def logged(tmp_path):
    """``logged(message, level)``: what the console and the log file get."""
    logger, screen, path = logging.Logger('test'), io.StringIO(), tmp_path / 'log'
    logger.addHandler(logging.StreamHandler(screen))
    logger.addHandler(logging.FileHandler(path))
    keep_chatter_in_files(logger)

    def log(message, level=logging.INFO):
        logger.log(level, message)
        return screen.getvalue(), path.read_text()

    return log


@pytest.mark.parametrize('beginning', FILE_ONLY)
def test_stock_chatter_is_in_the_file_only(logged, beginning):
    assert logged(beginning + ' x') == ('', beginning + ' x\n')
    assert logged(beginning + ' x', logging.ERROR) == (f'{beginning} x\n', f'{beginning} x\n' * 2)


def test_all_else_is_on_both(logged):
    assert logged('Phase 1 of 3: Config:\n x') == ('Phase 1 of 3: Config:\n x\n',) * 2


def test_lines_that_the_toolboxes_print(capsys):
    drop_printed_chatter()
    for line in PRINTED:
        print_log(f'{line} x')
    print_log('Something else')
    assert capsys.readouterr().out == 'Something else\n'
