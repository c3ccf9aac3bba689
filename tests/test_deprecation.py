"""Old names work, say what the new one is, and never hide a mistake."""

from dataclasses import dataclass, replace

import pytest

from nestvec.deprecation import (
    field_names_before,
    renamed_arguments,
    renamed_attributes,
    renamed_fields,
    renamed_keys,
)


@renamed_arguments({"size": "dims"})
def doubled(*, dims: int) -> int:
    return 2 * dims


def test_an_old_argument_works_and_names_the_new_one():
    with pytest.warns(DeprecationWarning, match=r"size= is now called dims="):
        assert doubled(size=2) == 4
    assert doubled(dims=2) == 4


def test_both_names_of_one_argument_are_refused():
    with pytest.raises(TypeError, match="pass dims= alone"):
        doubled(size=1, dims=2)


def test_an_unknown_argument_is_still_an_error():
    with pytest.raises(TypeError, match="width"):
        doubled(width=2)


def test_an_old_attribute_of_a_module_is_found_and_an_unknown_one_is_not():
    look_up = renamed_attributes("shop", {"Shop": ("Store", dict)})
    with pytest.warns(DeprecationWarning, match=r"shop\.Shop is now called shop\.Store"):
        assert look_up("Shop") is dict
    with pytest.raises(AttributeError, match="'shop' has no attribute 'Shops'"):
        look_up("Shops")


def test_old_keys_are_read_under_the_new_name_which_wins():
    with pytest.warns(DeprecationWarning, match="'measured' in run.toml"):
        table = renamed_keys({"measured": 1, "k": 3}, {"measured": "eval_dims"}, "run.toml")
    assert table == {"eval_dims": 1, "k": 3}
    with pytest.warns(DeprecationWarning):
        assert renamed_keys({"a": 1, "b": 2}, {"a": "b"}, "a table") == {"b": 2}


@renamed_fields({"size": "dims"})
@dataclass(frozen=True, slots=True)
class Prefix:
    dims: int
    k: int = 10


def test_an_old_field_works_as_an_argument_and_as_an_attribute():
    with pytest.warns(DeprecationWarning, match="size= is now called dims="):
        prefix = Prefix(size=64, k=3)
    assert prefix == Prefix(64, 3) == replace(Prefix(64), k=3)
    with pytest.warns(DeprecationWarning, match=r"Prefix\.size is now called Prefix\.dims"):
        assert prefix.size == 64
    assert field_names_before(Prefix) == {"size": "dims"}
    assert field_names_before(int) == {}
