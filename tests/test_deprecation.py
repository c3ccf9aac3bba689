"""Old names work, say what the new one is, and never hide a mistake."""

import pytest

from nestvec.deprecation import renamed_arguments, renamed_attributes, renamed_keys


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
