"""The error tree is the one that is drawn."""

import builtins
import inspect
import re

import pytest

from nestvec import errors

BRANCH = re.compile(r"^ {4}(?P<lead>[│├└─ ]*)(?P<name>\w+)(?: \((?P<builtin>\w+)\))?")
CLASSES = {
    name: cls
    for name, cls in inspect.getmembers(errors, inspect.isclass)
    if cls.__module__ == errors.__name__
}


def drawn_tree() -> dict[str, set[str]]:
    """Class name -> names of its bases, as the docstring of `errors` draws them."""
    parents: dict[str, set[str]] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        branch = BRANCH.match(line)
        if not branch:
            continue
        depth = len(branch["lead"]) // 4
        path = [*path[:depth], branch["name"]]
        parents[branch["name"]] = {*path[depth - 1 : depth], branch["builtin"]} - {None}
    return parents


def test_the_drawn_tree_is_the_real_one():
    real = {name: {base.__name__ for base in cls.__bases__} for name, cls in CLASSES.items()}
    real["NestvecError"] -= {"Exception"}
    assert drawn_tree() == real


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_error_says_in_its_docstring_what_it_is_for(name):
    assert CLASSES[name].__doc__.rstrip().endswith(".")


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_no_error_hides_a_built_in_one(name):
    assert not hasattr(builtins, name)


def test_one_except_clause_catches_them_all():
    assert all(issubclass(cls, errors.NestvecError) for cls in CLASSES.values())
