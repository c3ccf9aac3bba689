"""The door to optional packages tells a missing package from a broken one."""

import json
import sys

import pytest

from nestvec.errors import MissingExtraError
from nestvec.extras import require


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Put a package `borrowed` with this source on the path."""

    def write(source: str) -> None:
        (tmp_path / "borrowed").mkdir()
        (tmp_path / "borrowed" / "__init__.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "borrowed", raising=False)

    return write


def test_an_installed_module_is_returned():
    assert require("json", "text") is json


def test_a_missing_package_names_the_extra_that_installs_it():
    with pytest.raises(MissingExtraError, match=r"pip install 'nestvec\[text\]'"):
        require("no_such_package", "text")


def test_a_missing_parent_of_a_submodule_names_the_extra():
    with pytest.raises(MissingExtraError, match=r"no_such_package\.part"):
        require("no_such_package.part", "text")


def test_a_missing_part_of_an_installed_package_names_the_extra():
    with pytest.raises(MissingExtraError, match=r"json\.no_such_part"):
        require("json.no_such_part", "text")


def test_a_missing_extra_can_be_caught_as_an_import_error():
    with pytest.raises(ImportError):
        require("no_such_package", "text")


def test_a_package_that_misses_its_own_dependency_says_which(package):
    package("import no_such_dependency")
    with pytest.raises(ModuleNotFoundError) as caught:
        require("borrowed", "text")
    assert caught.value.name == "no_such_dependency"


def test_a_package_that_is_broken_inside_raises_its_own_error(package):
    package("raise RuntimeError('wrong driver')")
    with pytest.raises(RuntimeError, match="wrong driver"):
        require("borrowed", "text")


def test_a_package_that_misses_one_of_its_own_parts_is_not_called_missing(package):
    package("import borrowed.part")
    with pytest.raises(ModuleNotFoundError) as caught:
        require("borrowed", "text")
    assert not isinstance(caught.value, MissingExtraError)
