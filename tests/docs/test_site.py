"""The machinery of the documentation site: links, generated pages, notebooks, the build."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("griffe")
pytest.importorskip("nbconvert")

from nbclient.exceptions import CellExecutionError

from scripts.site import api, commands, doors, notebooks, transcripts
from scripts.site.links import check

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path):
    """Write a site of pages: their HTML by name."""

    def write(**pages):
        for name, text in pages.items():
            (tmp_path / f"{name}.html").write_text(text)
        return tmp_path

    return write


def test_links_to_pages_and_anchors_of_the_site_are_followed(site):
    one = '<h1 id="top">x</h1><a href="two.html#there">x</a><a href="#top">x</a><a href="">x</a>'
    report = check(site(one=one, two='<p id="there"></p><a href="./">x</a>', index=""))
    assert report.problems == []
    assert report.external == {}


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ('<a href="gone.html">x</a>', "links to gone.html, which is not in the site"),
        ('<a href="one.html#gone">x</a>', "links to one.html#gone, which has no such anchor"),
        ('<a href="#gone">x</a>', "links to #gone, which has no such anchor"),
        ('<img src="gone.png">', "loads gone.png, which is not in the site"),
        ('<img src="https://a.org/x.png">', "loads https://a.org/x.png from another host"),
        ('<script src="//a.org/x.js"></script>', "loads //a.org/x.js from another host"),
        ('<img srcset="http://a.org/x.png 2x">', "loads http://a.org/x.png from another host"),
        ('<p style="background: url(https://a.org/x)">', "loads https://a.org/x from another host"),
        (
            '<link rel="preconnect" href="https://fonts.a.org">',
            "loads https://fonts.a.org from another host",
        ),
        (
            "<style>@import 'https://a.org/x.css';</style>",
            "loads https://a.org/x.css from another host",
        ),
    ],
)
def test_a_dead_link_and_a_load_from_elsewhere_are_problems(site, html, problem):
    assert check(site(one=html)).problems == [f"one.html {problem}"]


def test_style_sheets_are_searched_for_loads_too(site):
    (site() / "a.css").write_text('@import "https://a.org/b.css"; p { background: url(b.png) }')
    assert check(site()).problems == ["a.css loads https://a.org/b.css from another host"]


def test_links_to_other_sites_are_listed_with_the_pages_that_have_them(site):
    link = '<a href="https://b.org/#x">x</a>'
    report = check(site(one=link + link, two=link, three='<a href="mailto:a@b.org">x</a>'))
    assert report.problems == []
    assert report.external == {"https://b.org/#x": ["one.html", "two.html"]}


def test_every_room_that_exports_names_has_a_page_with_them(tmp_path):
    room = tmp_path / "nestvec" / "room"
    (room / "inner").mkdir(parents=True)
    (tmp_path / "nestvec" / "__init__.py").write_text('"""All."""\n__all__ = []\n')
    (room / "__init__.py").write_text('"""A room."""\nf = 1\n__all__ = ["f"]\n')
    (room / "inner" / "__init__.py").write_text('"""Within."""\ng = 1\n__all__ = ["g"]\n')
    (room / "private.py").write_text('"""No room."""\n')
    (tmp_path / "nestvec" / "_hidden.py").write_text('def f(): """x"""\n')
    (tmp_path / "nestvec" / "plain.py").write_text(
        'def h():\n    """x"""\ndef _i():\n    """x"""\n'
    )
    pages = api.pages(tmp_path)
    assert pages.keys() == {"index.md", "nestvec.room.md", "nestvec.plain.md"}
    assert "::: nestvec.room\n" in pages["nestvec.room.md"]
    assert "- f\n" in pages["nestvec.room.md"]
    assert "::: nestvec.room.inner\n" in pages["nestvec.room.md"]
    assert "- h\n" in pages["nestvec.plain.md"]
    assert "_i" not in pages["nestvec.plain.md"]
    assert "| [`nestvec.room`](nestvec.room.md) | A room. |" in pages["index.md"]


def test_lazy_names_and_classes_that_signatures_name_are_in_the_reference():
    pages = api.pages(ROOT / "src")
    assert "| [`nv.TextIndex`][nestvec.collections.TextIndex] |" in pages["index.md"]
    audits = pages["nestvec.auditing.md"]
    assert "::: nestvec.auditing.reporting.report.AuditReport\n" in audits
    assert "::: nestvec.auditing.options.AuditOptions\n" in audits
    assert "::: nestvec.tuning.tuned.TunedPlan\n" in pages["nestvec.tuning.md"]


def test_the_page_of_the_command_line_has_every_command_and_fenced_examples():
    page = commands.page()
    assert page.startswith("# Command line\n")
    for command in ("search", "audit", "classify predict"):
        assert f"## `nestvec {command}`" in page
    assert "Examples:" not in page
    assert "```text\nnestvec search" in page


def test_the_page_of_inputs_has_a_line_for_each_mark(tmp_path):
    (tmp_path / "test_a.py").write_text(
        '"""Vectors from files: all kinds."""\n'
        '@pytest.mark.door("a | b", "read")\ndef test_x(): ...\n'
        'cases = [pytest.param(1, marks=pytest.mark.door("c", "refused"))]\n'
    )
    (tmp_path / "test_b.py").write_text("def test_y(): ...")
    page = doors.page(tmp_path)
    assert "## Vectors from files: all kinds\n" in page
    assert "| a \\| b | read |\n| c | refused |\n" in page
    assert "test_b" not in page
    assert len([*doors.read(Path(__file__).parents[1])]) >= 20


@pytest.fixture
def notebook(tmp_path):
    """Execute a tutorial of this text and render it: its files by name."""

    def run(text):
        page = tmp_path / "page.md"
        page.write_text(text)
        return notebooks.render(notebooks.execute(page), "page")

    return run


def test_a_tutorial_shows_what_its_cells_print_return_and_draw(notebook):
    pytest.importorskip("matplotlib")
    files = notebook("""\
# A title

Text with `code`.

```python
print("printed")
21 * 2
```

```python
import matplotlib.pyplot as plt

plt.plot([1, 2])
plt.show()
```
""")
    text = files["page.md"].decode()
    assert text.startswith("# A title\n\n[Download as a notebook](page.ipynb)")
    assert "Text with `code`." in text
    assert "\nprinted\n~~~~" in text
    assert "\n42\n~~~~" in text
    charts = [name for name in files if name.endswith(".svg")]
    assert len(charts) == 1
    assert f"]({charts[0]})" in text
    assert "printed" in files["page.ipynb"].decode()


def test_a_tutorial_that_fails_has_no_page(notebook):
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        notebook("# A title\n\n```python\n1 / 0\n```\n")


def test_a_tutorial_that_warns_has_no_page(notebook):
    with pytest.raises(RuntimeError, match=r"standard error.*an old name"):
        cell = 'import warnings\nwarnings.warn("an old name", DeprecationWarning)'
        notebook(f"# A title\n\n```python\n{cell}\n```\n")


@pytest.mark.parametrize(
    ("text", "code"),
    [("[x](other.md#there)", 0), ("[x](gone.md)", 1), ("[x](other.md#gone)", 1)],
)
def test_the_generator_refuses_dead_links(tmp_path, text, code):
    pytest.importorskip("zensical")
    pages = tmp_path / "docs"
    pages.mkdir()
    (pages / "index.md").write_text(f"# A page\n\n{text}\n")
    (pages / "other.md").write_text("# Another page\n\n## There\n")
    config = (ROOT / "zensical.toml").read_text().replace('"build/', '"')
    (tmp_path / "zensical.toml").write_text(
        config.replace('"scripts/site/theme"', f'"{ROOT / "scripts/site/theme"}"')
    )
    build = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr


# --- transcripts ---


@pytest.mark.parametrize(
    "transcript", [*transcripts.FILES, *transcripts.SERVERS], ids=lambda each: each.title
)
def test_a_transcript_ends_as_it_should_and_names_no_place_of_this_machine(transcript):
    pytest.importorskip("torch")
    shown = transcripts.run(transcript)
    assert tempfile.gettempdir() not in shown
    assert "127.0.0.1:9" in shown or "127.0.0.1" not in shown
    assert "hidden" not in shown
    assert ("error: " in shown) == transcript.fails
