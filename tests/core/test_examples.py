"""Every public function of the core has an example in its docstring, and the example is true."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import mmdmt.core
import mmdmt.files

MODULES = [
    mmdmt.files,
    *(importlib.import_module(f'mmdmt.core.{info.name}') for info in pkgutil.iter_modules(mmdmt.core.__path__)),
]


def public_functions(module):
    return {
        name: member
        for name, member in inspect.getmembers(module, inspect.isfunction)
        if member.__module__ == module.__name__ and not name.startswith('_')
    }


@pytest.mark.parametrize('module', MODULES, ids=lambda module: module.__name__)
def test_examples_are_true(module):
    failed, tried = doctest.testmod(module, extraglobs=dict(torch=__import__('torch')))
    assert (failed, tried > 0) == (0, True)


@pytest.mark.parametrize('module', MODULES[1:], ids=lambda module: module.__name__)
def test_every_public_function_has_an_example(module):
    assert [name for name, member in public_functions(module).items() if '>>>' not in (member.__doc__ or '')] == []
