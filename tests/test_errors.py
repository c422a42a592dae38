import pytest

from mmdmt import errors


@pytest.mark.parametrize(
    ('name', 'builtin'),
    [
        ('MissingFileError', FileNotFoundError),
        ('ExistingRunError', FileExistsError),
        ('InstallationError', RuntimeError),
        ('LostProcessError', RuntimeError),
        ('DivergedError', FloatingPointError),
    ],
)
def test_each_is_a_user_error_and_the_error_of_python(name, builtin):
    error = getattr(errors, name)
    assert issubclass(error, errors.UserError)
    assert issubclass(error, builtin)
    assert str(error('what to do')) == 'what to do'
