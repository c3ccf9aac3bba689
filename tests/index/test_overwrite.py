"""Overwriting replaces an index, and nothing that is not one or not of one."""

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from nestvec import Index
from nestvec.adapt import Rotation
from nestvec.errors import StorageError
from nestvec.index.storage import staging
from nestvec.index.storage.catalog import NAME
from nestvec.index.storage.writer_lock import writer_lock
from nestvec.progress import silent

GOLDEN = Path(__file__).parents[1] / "golden"
VECTORS = np.arange(240, dtype=np.float32).reshape(40, 6)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "i.nv"


def contents(folder):
    """Every file below, and where links lead."""
    return {
        file.relative_to(folder): str(file.readlink()) if file.is_symlink() else file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_symlink() or file.is_file()
    }


def refuse(path, message):
    """Overwriting is refused, at once, and changes nothing."""
    before, beside = contents(path), sorted(path.parent.iterdir())
    with pytest.raises(StorageError, match=message):
        Index.build(VECTORS, path, overwrite=True)
    assert contents(path) == before
    assert sorted(path.parent.iterdir()) == beside


def overwrite(path):
    """Overwriting leaves the new index and nothing beside it."""
    beside = sorted(path.parent.iterdir())
    assert (Index.build(-VECTORS, path, overwrite=True).vectors == -VECTORS).all()
    assert (Index.open(path, verify=True).vectors == -VECTORS).all()
    assert sorted(path.parent.iterdir()) == beside
    assert len(list(path.iterdir())) == 3


def database(*statements):
    """Writes a catalog.sqlite of somebody else."""

    def write(file):
        with sqlite3.connect(file) as db:
            for statement in statements:
                db.execute(statement)
        db.close()

    return write


META = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
CATALOGS = {
    "empty": lambda file: file.touch(),
    "text": lambda file: file.write_text("years of work"),
    "truncated": lambda file: file.write_bytes((GOLDEN / "format_2.nv" / NAME).read_bytes()[:99]),
    "no tables": database("PRAGMA user_version = 3"),
    "other tables": database("CREATE TABLE books (title TEXT)"),
    "only meta": database(META, "INSERT INTO meta VALUES ('format', '2')"),
    "tables of the same names": database(
        META,
        "CREATE TABLE segments (x)",
        "CREATE TABLE files (x)",
        "CREATE TABLE rows (x)",
        "INSERT INTO meta VALUES ('format', '2')",
    ),
    "write-ahead log": database("PRAGMA journal_mode = WAL", "CREATE TABLE books (title TEXT)"),
    "a folder": lambda file: file.mkdir(),
}


@pytest.mark.parametrize("kind", CATALOGS)
def test_a_catalog_of_somebody_else_makes_no_index(kind, path):
    path.mkdir()
    CATALOGS[kind](path / NAME)
    (path / "thesis.txt").write_text("years of work")
    refuse(path, "replaces nothing else")


def test_an_index_without_its_format_is_not_recognised(path):
    Index.build(VECTORS, path)
    with sqlite3.connect(path / NAME) as db:
        db.execute("DELETE FROM meta WHERE key = 'format'")
    refuse(path, "replaces nothing else")


FOREIGN = [
    "thesis.txt",
    ".notes",
    "backup/thesis.txt",
    "000001.notes.safetensors",
    "1.vectors.safetensors",
    "000001.vectors.safetensors.bak",
    "adapter.safetensors",
    "catalog.sqlite.bak",
    "catalog.sqlite3",
]


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_the_user_in_an_index_are_named_and_stay(name, path):
    Index.build(VECTORS, path)
    file = path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("years of work")
    refuse(path, f"'{Path(name).parts[0]}'.*move")
    file.unlink()
    if file.parent != path:
        file.parent.rmdir()
    overwrite(path)


def test_links_and_folders_under_the_names_of_files_are_foreign(path, tmp_path):
    Index.build(VECTORS, path)
    moved = tmp_path / "elsewhere"
    (path / "000001.codes.safetensors").rename(moved)
    (path / "000001.codes.safetensors").symlink_to(moved)
    refuse(path, "'000001.codes.safetensors'")
    (path / "000007.codes.safetensors").mkdir()
    refuse(path, "'000001.codes.safetensors', '000007.codes.safetensors'")


def test_of_many_files_the_first_are_named(path):
    Index.build(VECTORS, path)
    for number in range(30):
        (path / f"n{number:02}.txt").write_text("years of work")
    refuse(path, "'n00.txt', 'n01.txt', 'n02.txt' and 27 more")


def test_files_that_come_while_the_new_index_is_built_stay_too(path):
    Index.build(VECTORS, path)
    before = contents(path)

    def progress(description, total):
        (path / "thesis.txt").write_text("years of work")
        return silent(description, total)

    with pytest.raises(StorageError, match=r"'thesis\.txt'"):
        Index.build(-VECTORS, path, overwrite=True, progress=progress)
    (path / "writer.lock").unlink()
    assert contents(path) == {**before, Path("thesis.txt"): b"years of work"}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_index_of_any_format_is_replaced(number, path):
    shutil.copytree(GOLDEN / f"format_{number}.nv", path)
    overwrite(path)


def test_an_index_of_a_newer_format_is_recognised(path):
    Index.build(VECTORS, path)
    with sqlite3.connect(path / NAME) as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    overwrite(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "000001.codes.safetensors").unlink(),
        lambda path: (path / "000001.vectors.safetensors").write_bytes(b"x"),
        lambda path: sqlite3.connect(path / NAME).execute("PRAGMA user_version = 0").close(),
        lambda path: (path / "000007.vectors.safetensors").write_bytes(b"of a killed writer"),
        lambda path: (path / ".nfs000000000123abcd00000001").write_bytes(b"still read elsewhere"),
    ],
    ids=["lost codes", "cut vectors", "none", "left behind", "of a file system"],
)
def test_a_damaged_or_untidy_index_is_replaced(damage, path):
    Index.build(VECTORS, path)
    damage(path)
    overwrite(path)


def test_an_index_that_was_changed_is_replaced(path):
    index = Index.build(VECTORS, path)
    index.add(VECTORS[:3])
    index.delete(0)
    overwrite(path)


def test_an_index_with_an_adapter_is_replaced(path):
    Index.build(VECTORS, path, transform=Rotation.fit(VECTORS))
    assert (path / "adapter.safetensors").is_file()
    overwrite(path)


def test_what_a_writer_that_was_killed_left_half_done_does_not_matter(path, tmp_path):
    Index.build(VECTORS, path)
    db = sqlite3.connect(path / NAME, isolation_level=None)
    db.execute("PRAGMA cache_size = 1")
    db.execute("BEGIN IMMEDIATE")
    db.executemany(
        "INSERT INTO rows VALUES (?, ?, 'x', NULL, 0)", ((i, i) for i in range(99, 9999))
    )
    killed = tmp_path / "killed.nv"
    shutil.copytree(path, killed)
    db.execute("ROLLBACK")
    db.close()
    assert (killed / f"{NAME}-journal").stat().st_size
    overwrite(killed)


# --- links ---------------------------------------------------------------------------------------


@pytest.fixture(params=["absolute", "relative", "chain"])
def link(request, tmp_path):
    """A link, and the folder in another one that it leads to."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "links").mkdir()
    folder, link = tmp_path / "disk" / "real.nv", tmp_path / "links" / "i.nv"
    if request.param == "chain":
        (tmp_path / "links" / "next").symlink_to(folder)
        link.symlink_to("next")
    else:
        link.symlink_to(folder if request.param == "absolute" else "../disk/real.nv")
    return link, folder


def test_a_link_stays_and_what_it_leads_to_is_replaced(link):
    link, folder = link
    Index.build(VECTORS, folder)
    before, reader = link.readlink(), Index.open(link)
    with pytest.raises(StorageError, match="exists"):
        Index.build(VECTORS, link)
    assert Index.build(-VECTORS, link, overwrite=True).path == link
    assert link.readlink() == before
    assert not folder.is_symlink()
    assert (Index.open(folder, verify=True).vectors == -VECTORS).all()
    assert list(folder.parent.iterdir()) == [folder]
    assert not list(link.parent.glob(".*"))
    assert (reader.vectors == VECTORS).all()
    assert reader.refresh()
    assert (reader.vectors == -VECTORS).all()


def test_the_lock_behind_a_link_is_that_of_the_index(link):
    link, folder = link
    Index.build(VECTORS, folder)
    with writer_lock(folder, "x"), pytest.raises(StorageError, match="being written to"):
        Index.build(VECTORS, link, overwrite=True)


def test_foreign_files_behind_a_link_are_refused(link):
    link, folder = link
    Index.build(VECTORS, folder)
    (folder / "thesis.txt").write_text("years of work")
    refuse(link, "thesis")
    assert (folder / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("overwriting", [False, True])
def test_a_link_to_nothing_says_where_to_build(link, overwriting):
    link, folder = link
    Index.build(VECTORS, link, overwrite=overwriting)
    assert link.is_symlink()
    assert len(Index.open(folder)) == len(VECTORS)


def test_a_link_to_itself_leads_nowhere(tmp_path):
    link = tmp_path / "i.nv"
    link.symlink_to("i.nv")
    for overwriting in (False, True):
        with pytest.raises(StorageError, match="link"):
            Index.build(VECTORS, link, overwrite=overwriting)
    assert list(tmp_path.iterdir()) == [link]


def test_a_link_to_a_file_is_no_index(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "i.nv").symlink_to("thesis.txt")
    with pytest.raises(StorageError, match="replaces nothing else"):
        Index.build(VECTORS, tmp_path / "i.nv", overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("linked", [False, True])
def test_where_folders_cannot_change_places_in_one_step_they_do_in_two(
    linked, path, tmp_path, monkeypatch
):
    monkeypatch.setattr(staging.ctypes, "CDLL", lambda *_, **__: object())  # no renameat2
    Index.build(VECTORS, path)
    if linked:
        (tmp_path / "link").symlink_to(path)
    Index.build(-VECTORS, tmp_path / "link" if linked else path, overwrite=True)
    assert (Index.open(path, verify=True).vectors == -VECTORS).all()
    assert not path.is_symlink()
    assert sorted(tmp_path.iterdir()) == sorted([path, *[tmp_path / "link"] * linked])


# --- writers -------------------------------------------------------------------------------------


def test_writers_sweep_up_their_own_files_alone(path):
    index = Index.build(VECTORS, path)
    for name in FOREIGN:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("years of work")
    left = path / "000009.vectors.safetensors"
    left.write_bytes(b"of a killed writer")
    index.add(VECTORS)
    index.delete(3)
    index.compact()
    assert not left.exists()
    assert all((path / name).read_text() == "years of work" for name in FOREIGN)
