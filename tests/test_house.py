"""The house style checker: each rule passes and fails on a small package, at its limit."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
PARAMETERS = [f"p{i}" for i in range(12)]


@pytest.fixture
def house(monkeypatch):
    """The checker's modules; `scripts/` is no part of the installed package."""
    monkeypatch.syspath_prepend(str(ROOT))
    names = ("__main__", "imports", "language", "sizes", "source", "words")
    return SimpleNamespace(
        **{name.strip("_"): importlib.import_module(f"scripts.house.{name}") for name in names}
    )


@pytest.fixture
def figures(house, tmp_path):
    """Measure a package `sample` of the files passed; missing `__init__.py` files are added."""

    def measure(files):
        src = write(tmp_path / "src" / "sample", files)
        modules = house.source.read_package(src)
        return {one.key: one for one in house.main.measure(src, modules)}

    return measure


def write(src, files):
    for name, text in {"__init__.py": '"""A package."""\n', **files}.items():
        path = src / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        for folder in path.relative_to(src).parents:
            (src / folder / "__init__.py").touch()
    return src


# --- docstrings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "opening", ["What", "How", "Where", "Which", "That", "Of", "As", "Whether", "Who", "When"]
)
def test_a_docstring_that_opens_with_a_clause_is_over_the_limit(figures, opening):
    found = figures({"a.py": f'def f():\n    """{opening} it is."""\n'})
    assert found["docstring_openings"].n == 1
    assert found["docstring_openings"].passed is False
    assert "sample/a.py:2 f" in found["docstring_openings"].places[0]


def test_docstrings_that_open_with_a_noun_or_an_imperative_pass(figures):
    text = '"""A thing."""\nclass A:\n    """Whatever, Howitzer, Offer."""\n'
    found = figures({"a.py": text + '    def f(self):\n        """Return as is."""\n'})
    assert (found["docstring_openings"].n, found["docstring_openings"].total) == (0, 4)
    assert found["docstring_openings"].passed


@pytest.mark.parametrize(("total", "passed"), [(34, True), (33, False)])
def test_three_in_a_hundred_docstrings_may_open_with_a_clause(figures, total, passed):
    functions = [f'def f{i}():\n    """Return."""\n' for i in range(total - 2)]
    found = figures({"a.py": "".join(functions) + 'def g():\n    """What."""\n'})
    assert found["docstring_openings"].total == total
    assert found["docstring_openings"].passed is passed


def test_no_module_docstring_may_open_with_a_clause(figures):
    modules = {f"m{i}.py": '"""A module."""\n' for i in range(19)}
    assert figures(modules)["module_docstring_openings"].passed
    found = figures({**modules, "last.py": '"""How it works."""\n'})
    assert found["module_docstring_openings"].passed is False
    assert found["module_docstring_openings"].n == 1


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "given = 1",
        "_given = 1",
        "for given in (): pass",
        "x = [given for given in ()]",
        "if (given := 1): pass",
        "def f(given): pass",
        "def f(*, given=1): pass",
        "f = lambda given: 0",
        "def given(): pass",
        "class Given: pass",
        "class A:\n    given: int",
        "class A:\n    def f(self):\n        self._given = 1",
        "import json as given",
        "with open('') as given: pass",
        "try: pass\nexcept OSError as given: pass",
        "match 1:\n    case given: pass",
    ],
)
def test_a_bare_stop_word_is_found_wherever_it_is_bound(figures, code):
    assert figures({"a.py": code})["stop_word_names"].n == 1


@pytest.mark.parametrize(
    "code",
    [
        "given_dims = 1",
        "print(given)",
        "given.x = 1",
        "from json import given",
        "__all__ = []",
        "class A:\n    def __eq__(self, other): pass",
    ],
)
def test_longer_names_uses_and_allowed_places_are_no_bare_stop_words(figures, code):
    assert figures({"a.py": code})["stop_word_names"].n == 0


def test_an_allowance_holds_in_its_place_alone(figures):
    found = figures({"a.py": "class A:\n    def join(self, other): pass"})
    assert found["stop_word_names"].places == ("sample/a.py:2 sample.a.A.join.other",)


def test_module_names_count(figures):
    assert figures({"made.py": ""})["stop_word_names"].places == ("sample/made.py:1 sample.made",)


@pytest.mark.parametrize(("total", "passed"), [(100, True), (99, False)])
def test_one_name_in_a_hundred_may_be_a_stop_word(figures, total, passed):
    others = "".join(f"x{i} = 1\n" for i in range(total - 3))
    found = figures({"a.py": "kept = 1\n" + others})
    assert found["stop_word_names"].total == total
    assert found["stop_word_names"].passed is passed


def test_the_longer_lists_are_reported_and_have_no_limit(figures):
    found = figures({"a.py": "wanted = 1\nthe = 1\ngiven = 1\n"})
    assert (found["stop_word_names"].n, found["english_stop_word_names"].n) == (1, 1)
    assert (found["longer_list_names"].n, found["longer_list_names"].passed) == (3, None)


def test_every_allowance_has_a_reason(house):
    assert all(one.reason for one in house.words.ALLOWANCES)
    assert all(house.words.PARAMETER_EXEMPTIONS.values())


# --- circles --------------------------------------------------------------------------------------


def circle_counts(found):
    keys = ("circles", "circles_when_run", "circles_at_import")
    return tuple(int(found[key].value) for key in keys)


@pytest.mark.parametrize(
    ("second", "counts"),
    [
        ("from sample import a", (1, 1, 1)),
        ("import sample.a", (1, 1, 1)),
        ("from . import a", (1, 1, 1)),
        ("from sample.a import x", (1, 1, 1)),
        ("def f():\n    from sample.a import x", (1, 1, 0)),
        ("class A:\n    async def f(self):\n        import sample.a", (1, 1, 0)),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sample.a", (1, 0, 0)),
        ("import typing\nif typing.TYPE_CHECKING:\n    import sample.a", (1, 0, 0)),
        ("import json", (0, 0, 0)),
    ],
)
def test_two_modules_that_import_each_other_are_a_circle(figures, second, counts):
    found = figures({"a.py": "from sample.b import y\n", "b.py": second})
    assert circle_counts(found) == counts
    if counts[0]:
        assert found["circles"].places == ("2 modules: sample.a, sample.b",)
        assert found["circles"].passed is False


def test_an_init_that_re_exports_its_children_is_no_circle(figures):
    files = {"p/__init__.py": "from sample.p.a import x", "p/a.py": "from sample.p.b import x"}
    assert circle_counts(figures({**files, "p/b.py": "x = 1"})) == (0, 0, 0)


def test_a_child_that_imports_a_name_from_its_own_package_is_a_circle(figures):
    files = {"p/__init__.py": "from sample.p.a import x", "p/b.py": "x = 1"}
    found = figures({**files, "p/a.py": "def f():\n    from sample.p import x"})
    assert found["circles"].places == ("2 modules: sample.p, sample.p.a",)


def test_a_sub_module_of_another_package_brings_its_init(figures):
    files = {"p/__init__.py": "from sample.q.a import x", "p/a.py": "x = 1"}
    found = figures({**files, "q/a.py": "from sample.p.a import x"})
    assert found["circles"].places == ("2 modules: sample.p, sample.q.a",)


def test_long_circles_and_separate_ones_are_told_apart(figures):
    ring = {f"r{i}.py": f"import sample.r{(i + 1) % 5}" for i in range(5)}
    pair = {"a.py": "import sample.b", "b.py": "import sample.a, sample.r0", "c.py": "import json"}
    found = figures({**ring, **pair})
    assert [place.split(":")[0] for place in found["circles"].places] == ["5 modules", "2 modules"]


def test_late_and_typing_imports_are_counted(figures):
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sample.b\n"
    found = figures({"a.py": text + "def f():\n    import sample.b, json\n", "b.py": ""})
    assert found["late_imports"].places == ("sample.a:5 sample.b",)
    assert found["typing_imports"].places == ("sample.a:3 sample.b",)


def test_an_imported_package_of_the_same_name_is_not_measured_instead(house, tmp_path):
    src = write(tmp_path / "nestvec", {})
    importlib.import_module("nestvec")
    with pytest.raises(SystemExit, match="new process"):
        house.imports.read_imports(src, house.source.read_package(src))


def test_a_folder_without_init_is_refused(house, tmp_path):
    src = write(tmp_path / "sample", {"p/a.py": ""})
    (src / "p" / "__init__.py").unlink()
    with pytest.raises(SystemExit, match=r"imports of sample\.p\.a are not seen"):
        house.imports.read_imports(src, house.source.read_package(src))


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "passed"), [(20, True), (21, False)])
def test_a_folder_holds_at_most_twenty_modules(figures, n, passed):
    files = {f"p/m{i}.py": "" for i in range(n)}
    found = figures({**files, "p/q/other.py": ""})["modules_per_folder"]
    assert (found.value, found.passed) == (n, passed)
    assert found.places == (() if passed else ("sample/p: 21 modules",))


@pytest.mark.parametrize(("n", "passed"), [(600, True), (601, False)])
def test_a_file_has_at_most_six_hundred_lines(figures, n, passed):
    found = figures({"a.py": "x = 1\n" * n})["long_files"]
    assert found.passed is passed
    assert found.places == (() if passed else ("sample/a.py: 601 lines",))


@pytest.mark.parametrize(("n", "passed"), [(10, True), (11, False)])
@pytest.mark.parametrize(
    "code",
    [
        "def f({}): pass",
        "async def f(*, {}): pass",
        "class A:\n    def f(self, {}): pass",
        "class A:\n    def __init__(self, {}): pass",
        "class A:\n    @classmethod\n    def f(cls, {}): pass",
        "class A:\n    @staticmethod\n    def f({}): pass",
        "if True:\n    def f({}): pass",
    ],
)
def test_a_public_function_has_at_most_ten_parameters(figures, code, n, passed):
    found = figures({"a.py": code.format(", ".join(PARAMETERS[:n]))})["public_parameters"]
    assert (found.value, found.passed, len(found.places)) == (n, passed, not passed)


def test_star_arguments_count_as_one_each(figures):
    found = figures({"a.py": "def f(a, /, b, *rest, c, **named): pass"})
    assert (found["public_parameters"].value, found["many_parameters"].value) == (5, 0)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("a.py", "def _f({}): pass"),
        ("_a.py", "def f({}): pass"),
        ("_p/a.py", "def f({}): pass"),
        ("a.py", "class _A:\n    def f(self, {}): pass"),
        ("a.py", "def g():\n    def f({}): pass"),
        ("cli/a.py", "def f({}): pass"),
    ],
)
def test_private_functions_and_commands_may_have_more_parameters(figures, name, code):
    found = figures({name: code.format(", ".join(PARAMETERS))})
    assert found["public_parameters"].passed
    assert (found["parameters"].value, found["many_parameters"].value) == (len(PARAMETERS), 1)


@pytest.mark.parametrize(("n", "long"), [(60, 0), (61, 1)])
def test_functions_over_sixty_lines_are_reported(figures, n, long):
    found = figures({"a.py": "@d\ndef f():\n" + "    x = 1\n" * (n - 1)})
    assert (found["long_functions"].n, found["long_functions"].passed) == (long, None)
    assert found["function_lines_max"].value == n


def test_public_definitions_without_a_docstring_are_reported(figures):
    code = 'class A:\n    """A."""\n    def f(self): pass\n    def _g(self): pass\n'
    found = figures({"a.py": code + "def _h():\n    def inner(): pass\n"})["undocumented"]
    assert (found.total, found.places) == (2, ("sample/a.py:3 A.f",))


def test_repeated_names_are_reported(figures):
    code = "class Task: pass\nclass _Own: pass\ndef run(): pass\n"
    found = figures({"a.py": code, "b.py": code, "c.py": "class A:\n    def run(self): pass"})
    assert found["repeated_classes"].places == ("Task: sample.a, sample.b",)
    assert found["functions_named_run"].value == 2


@pytest.mark.parametrize(
    ("init", "hidden"),
    [
        ("from sample.tune import tune", 1),
        ("from .tune import tune", 1),
        ("def tune(): pass", 1),
        ("from sample import tune", 0),
        ("from . import tune", 0),
        ("from sample.tune import other", 0),
    ],
)
def test_a_module_hidden_behind_a_function_of_its_name_is_reported(figures, init, hidden):
    found = figures({"__init__.py": init, "tune.py": "def tune(): pass"})["shadowed_modules"]
    assert found.value == hidden


# --- private words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "code", "kinds"),
    [
        ("door", "front_door = 1", ["names"]),
        ("door", "class FrontDoor: pass", ["names"]),
        ("door", '"""Doors, a door."""', ["docstrings", "docstrings"]),
        ("door", "indoor = outdoors = 1", []),
        (r"near[ -]miss(?:es)?", '"""Near misses."""\nnear_miss = 1', ["names", "docstrings"]),
        (r"held(?![ -]?out)", '"""Held-out data."""\nheld_out = heldout = 1', []),
        (r"held(?![ -]?out)", "held = 1", ["names"]),
    ],
)
def test_private_words_are_found_as_words(house, tmp_path, word, code, kinds):
    assert word in house.words.PRIVATE_WORDS
    modules = house.source.read_package(write(tmp_path / "sample", {"p/a.py": code}))
    assert [kind for kind, _, _ in house.language.word_uses(modules, word)] == kinds


def test_private_words_are_counted_by_package(house, tmp_path):
    files = {"p/a.py": '"""A door\n\nand a door."""\ndoor = 1', "q.py": "door = 1"}
    modules = house.source.read_package(write(tmp_path / "sample", files))
    counts = house.language.words_by_package(modules)["door"]
    assert counts == {"p": {"names": 1, "docstrings": 2}, "q": {"names": 1}}


# --- the command ----------------------------------------------------------------------------------


def test_check_passes_on_a_clean_package(house, tmp_path, capsys):
    src = write(tmp_path / "sample", {"a.py": '"""A module."""\n'})
    assert house.main.main(["--src", str(src), "--check"]) == 0
    assert capsys.readouterr().err == ""


def test_check_fails_with_the_places(house, tmp_path, capsys):
    src = write(tmp_path / "sample", {"a.py": '"""How it works."""\n', "b.py": '"""What."""\n'})
    assert house.main.main(["--src", str(src)]) == 0
    assert house.main.main(["--src", str(src), "--check", "--places", "1"]) == 1
    error = capsys.readouterr().err
    assert "sample/a.py:1 module: How it works." in error
    assert "… and 1 more" in error
    assert "sample/b.py" not in error


def test_json_has_every_figure_and_is_the_same_each_time(house, tmp_path, capsys):
    src = write(tmp_path / "sample", {"a.py": '"""How it works."""\ngiven = 1\n'})
    texts = []
    for _ in range(2):
        house.main.main(["--src", str(src), "--json"])
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    read = json.loads(texts[0])
    assert read["figures"]["stop_word_names"]["places"] == ["sample/a.py:2 sample.a.given"]
    assert read["packages"]["a"]["module_docstring_openings"] == 1
    assert str(tmp_path) not in texts[0]


def test_markdown_and_where_print_what_was_measured(house, tmp_path, capsys):
    src = write(tmp_path / "sample", {"a.py": "front_door = 1\n"})
    house.main.main(["--src", str(src), "--markdown"])
    assert "| door | a 1+0 |" in capsys.readouterr().out
    house.main.main(["--src", str(src), "--where", "door"])
    assert capsys.readouterr().out == "sample/a.py:1 sample.a.front_door\n"


def test_a_folder_that_is_no_package_is_refused(house, tmp_path):
    with pytest.raises(SystemExit, match="no __init__"):
        house.source.read_package(tmp_path)
