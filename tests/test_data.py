"""Texts and judged queries: read as written, or refused in one sentence."""

import csv
import dataclasses
import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from nestvec.data import (
    Corpus,
    RetrievalSet,
    read_columns,
    read_qrels,
    read_retrieval_set,
    read_texts,
    read_triplets,
)
from nestvec.demo.corpus import load
from nestvec.errors import DataError, IdsError, InputError, MissingExtraError, NestvecError

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not here")

JSONL = '{"_id": "a", "title": "On", "text": "cats"}\n{"_id": "b", "title": "", "text": "dogs"}\n'
TSV = "paper_id\tyear\ttitle\tabstract\na\t1999\tOn\tcats\nb\t2001\t\tdogs\n"
CSV = "id,year,title,text\na,1999,On,cats\nb,2001,,dogs\n"
TXT = "On cats\ndogs\n"


@pytest.fixture
def write(tmp_path):
    """Write a file, gzipped where the name says so, and return its path."""

    def write(name: str, content: str | bytes) -> Path:
        raw = content.encode() if isinstance(content, str) else content
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
        return path

    return write


# What a file says.


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "content"), [("x.jsonl", JSONL), ("x.tsv", TSV), ("x.csv", CSV), ("x.txt", TXT)]
)
def test_every_format_gives_the_same_texts(write, name, content, packed):
    assert read_texts(write(name + packed, content)).texts == ("On cats", "dogs")


@pytest.mark.parametrize(("name", "content"), [("x.jsonl", JSONL), ("x.tsv", TSV), ("x.csv", CSV)])
def test_ids_are_found_under_their_usual_names(write, name, content):
    assert read_texts(write(name, content)).ids == ("a", "b")


@pytest.mark.parametrize(("name", "content"), [("x.tsv", TSV), ("x.csv", CSV)])
def test_every_other_column_is_metadata(write, name, content):
    assert read_texts(write(name, content)).metadata == ({"year": 1999}, {"year": 2001})


def test_the_ids_of_a_txt_are_its_line_numbers(write):
    corpus = read_texts(write("x.txt", "zero\n\ntwo\n  \nfour"))
    assert corpus.ids == (0, 2, 4)
    assert corpus.texts == ("zero", "two", "four")


@pytest.mark.parametrize(
    ("name", "content"), [("x.jsonl", JSONL), ("x.tsv", TSV), ("x.csv", CSV), ("x.txt", TXT)]
)
def test_blank_lines_are_skipped(write, name, content):
    spaced = read_texts(write("spaced-" + name, content.replace("\n", "\n\n")))
    assert spaced.texts == read_texts(write(name, content)).texts


def test_without_an_id_column_the_ids_are_row_numbers(write):
    assert read_texts(write("x.tsv", "text\tn\na\t5\nb\t5\n")).ids == (0, 1)


def test_a_later_column_named_like_an_id_is_metadata(write):
    corpus = read_texts(write("x.tsv", "text\tparent_id\na\t5\nb\t5\n"))
    assert corpus.metadata == ({"parent_id": 5}, {"parent_id": 5})


def test_integer_ids_of_json_stay_integers(write):
    assert read_texts(write("x.jsonl", '{"id": 7, "text": "x"}')).ids == (7,)


def test_nested_metadata_stands_beside_the_other_columns(write):
    line = '{"_id": "1", "text": "x", "metadata": {"year": 1999}, "url": "u"}'
    assert read_texts(write("x.jsonl", line)).metadata == ({"year": 1999, "url": "u"},)


def test_a_title_may_be_missing_in_any_record(write):
    lines = '{"text": "cats"}\n{"title": "On", "text": "dogs"}\n{"title": "Birds"}\n'
    corpus = read_texts(write("x.jsonl", lines))
    assert corpus.texts == ("cats", "On dogs", "Birds")
    assert corpus.metadata == ({}, {}, {})


def test_named_columns_are_joined_in_the_order_given(write):
    corpus = read_texts(write("x.tsv", TSV), text_columns=["abstract", "year"])
    assert corpus.texts == ("cats 1999", "dogs 2001")
    assert corpus.metadata == ({"title": "On"}, {"title": None})


def test_one_text_column_needs_no_list(write):
    assert read_texts(write("x.tsv", TSV), text_columns="year").texts == ("1999", "2001")


def test_a_named_id_column_wins_over_the_usual_one(write):
    corpus = read_texts(write("x.tsv", TSV), id_column="year")
    assert corpus.ids == ("1999", "2001")
    assert corpus.metadata[0] == {"paper_id": "a"}


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_limit_keeps_the_first_rows(write, limit):
    path = write("x.tsv", TSV)
    assert read_texts(path, limit=limit).texts == read_texts(path).texts[:limit]


def test_a_limit_stops_reading(write):
    assert read_texts(write("x.jsonl", JSONL + "damaged"), limit=2).ids == ("a", "b")


def test_an_empty_text_is_kept_so_that_rows_stay_in_step(write):
    assert read_texts(write("x.tsv", "id\ttext\na\t\nb\tx\n")).texts == ("", "x")


def test_quotes_in_a_tsv_are_ordinary_characters(write):
    assert read_texts(write("x.tsv", 'text\tn\n"quoted\t"1\nit "is"\t2\n')).texts == (
        '"quoted',
        'it "is"',
    )


def test_a_csv_field_may_hold_commas_quotes_and_line_breaks(write):
    assert read_texts(write("x.csv", 'id,text\na,"one, ""two""\nthree"\n')).texts == (
        'one, "two"\nthree',
    )


def test_a_tsv_field_may_be_longer_than_the_csv_module_allows(write):
    long = "x" * 200_000  # the csv module allows 131,072
    assert read_texts(write("x.tsv", f"text\tn\n{long}\t1\n")).texts == (long,)


@pytest.mark.parametrize("separator", ["\u2028", "\x0b", "\x85", "\r"])
def test_lines_end_at_line_feeds_only(write, separator):
    assert read_texts(write("x.txt", f"a{separator}b\nc\n")).texts == (f"a{separator}b", "c")


@pytest.mark.parametrize(
    ("name", "content"), [("x.jsonl", JSONL), ("x.tsv", TSV), ("x.csv", CSV), ("x.txt", TXT)]
)
def test_windows_line_ends_and_a_byte_order_mark_change_nothing(write, name, content):
    windows = b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode()
    assert read_texts(write("w-" + name, windows)) == read_texts(write(name, content))


# A field of a TSV that looks so was written by a program that quotes.
quoted = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')

# Characters that no format here can hold inside a field: they end it, or are no characters.
field = st.text(st.characters(blacklist_characters="\t\r\n\x00\ufeff", blacklist_categories=["Cs"]))


@settings(deadline=None)
@example(texts=['"', '"'], packed="")
@example(texts=['"a""', '"'], packed="")
@given(texts=st.lists(field, min_size=1, max_size=5), packed=st.sampled_from(["", ".gz"]))
def test_what_was_written_is_read(tmp_path_factory, texts, packed):
    assume(not any(quoted.fullmatch(text) for text in texts))
    folder = tmp_path_factory.mktemp("written")
    jsonl, tsv, table = (folder / f"x.{end}{packed}" for end in ("jsonl", "tsv", "csv"))
    opened = gzip.open if packed else open
    with opened(jsonl, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"_id": i, "text": t}) + "\n" for i, t in enumerate(texts))
    with opened(tsv, "wt", encoding="utf-8", newline="\n") as file:
        file.write("id\ttext\n" + "".join(f"{i}\t{t}\n" for i, t in enumerate(texts)))
    with opened(table, "wt", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *enumerate(texts)])
    for path in (jsonl, tsv, table):
        assert read_texts(path).texts == tuple(texts)


# What cannot be read, and why.


def refusal(path, error=DataError, **kwargs):
    """The message with which reading is refused: one sentence that names the file."""
    with pytest.raises(error) as caught:
        read_texts(path, **kwargs)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["x.jsonl", "x.tsv", "x.csv", "x.txt", "x.tsv.gz"])
def test_an_empty_file_holds_no_texts(write, name):
    assert "holds no texts" in refusal(write(name, ""))


def test_a_table_with_only_a_header_holds_no_texts(write):
    assert "holds no texts" in refusal(write("x.tsv", "id\ttext\n"))


@pytest.mark.parametrize("name", ["x.tsv", "x.tsv.gz"])
def test_a_missing_file_is_not_called_damaged(tmp_path, name):
    assert "cannot be read: No such file" in refusal(tmp_path / name)


def test_an_empty_folder_holds_no_texts(tmp_path):
    (tmp_path / "x.tsv").mkdir()
    assert "holds no files of texts or vectors" in refusal(tmp_path / "x.tsv")


def test_an_unknown_ending_names_the_known_ones(write):
    assert ".docx; nestvec reads .jsonl, .tsv" in refusal(write("x.docx", "x"))


@pytest.mark.parametrize("keep", [5, -20, -4])
def test_a_truncated_gzip_is_damaged_and_not_short(write, keep):
    path = write("x.txt.gz", "text\n" * 1000)
    path.write_bytes(path.read_bytes()[:keep])
    assert "no whole gzip file" in refusal(path)


@pytest.mark.parametrize("place", [0, 20, -6])
def test_an_altered_gzip_is_damaged(write, place):
    path = write("x.txt.gz", "".join(f"text {n * n}\n" for n in range(100)))
    raw = bytearray(path.read_bytes())
    raw[place] ^= 0xFF
    path.write_bytes(raw)
    assert "no whole gzip file" in refusal(path)


def test_a_text_in_another_encoding_names_the_line(write):
    assert "line 2 is not UTF-8" in refusal(write("x.txt", "ok\ncafé\n".encode("latin-1")))


def test_a_line_that_is_not_json_is_named(write):
    assert "line 3 is not JSON" in refusal(write("x.jsonl", JSONL + '{"text": "cut o'))


@pytest.mark.parametrize("line", ['["a"]', '"a"', "3", "{}", "null"])
def test_a_line_that_is_no_json_object_is_named(write, line):
    assert "line 3" in refusal(write("x.jsonl", JSONL + line))


@pytest.mark.parametrize("row", ["c\t1999\tOn", "c\t1999\tOn\tcats\tand dogs"])
def test_a_row_of_another_width_than_the_header_is_named(write, row):
    assert "line 4 has" in refusal(write("x.tsv", TSV + row))


def test_an_open_quote_in_a_csv_does_not_swallow_the_rest(write):
    assert "is not CSV" in refusal(write("x.csv", CSV + 'c,1999,"On,cats\nd,1999,On,cats\n'))


def test_a_column_named_twice_is_refused(write):
    assert "names a column twice" in refusal(write("x.tsv", "id\ttext\ttext\na\tb\tc\n"))


@pytest.mark.parametrize("wrong", [{"text_columns": ["body"]}, {"id_column": "body"}])
def test_an_unknown_column_lists_the_columns_there_are(write, wrong):
    message = refusal(write("x.tsv", TSV), **wrong)
    assert "no column 'body'" in message
    assert "'paper_id', 'year', 'title', 'abstract'" in message


def test_a_file_without_a_usual_text_column_lists_its_columns(write):
    assert "'id', 'caption'" in refusal(write("x.tsv", "id\tcaption\na\tb\n"))


@pytest.mark.parametrize("record", ['{"_id": "c"}', '{"_id": "c", "text": null}'])
def test_a_record_without_a_text_is_named(write, record):
    assert "line 3 has no text" in refusal(write("x.jsonl", JSONL + record))


def test_a_text_that_is_no_string_is_refused(write):
    assert "line 3 has 5 as text" in refusal(write("x.jsonl", JSONL + '{"_id": "c", "text": 5}'))


@pytest.mark.parametrize("record", ['{"text": "x"}', '{"_id": null, "text": "x"}'])
def test_a_record_without_its_id_is_named(write, record):
    assert "line 3 has no '_id'" in refusal(write("x.jsonl", JSONL + record), IdsError)


@pytest.mark.parametrize("bad", ["1.5", "true", '["a"]'])
def test_an_id_of_another_type_is_refused(write, bad):
    path = write("x.jsonl", JSONL + f'{{"_id": {bad}, "text": "x"}}')
    assert "line 3 has the id" in refusal(path, IdsError)


def test_a_repeated_id_is_named_with_both_its_rows(write):
    message = refusal(write("x.tsv", TSV + "a\t2002\tOn\tbirds\n"), IdsError)
    assert "id 'a' stands in rows 0 and 2" in message


def test_integers_among_string_ids_are_refused(write):
    message = refusal(write("x.jsonl", JSONL + '{"_id": 1, "text": "x"}'), IdsError)
    assert "type int, str" in message


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(write, limit):
    with pytest.raises(InputError, match=f"limit={limit}"):
        read_texts(write("x.tsv", TSV), limit=limit)


def test_a_corpus_cannot_be_changed():
    corpus = Corpus(("a",), ("x",), ({},))
    with pytest.raises(dataclasses.FrozenInstanceError):
        corpus.texts = ("y",)


def test_a_corpus_has_one_text_and_metadata_per_id():
    with pytest.raises(DataError, match="2 ids, 1 texts"):
        Corpus(("a", "b"), ("x",), ({}, {}))


def test_the_length_of_a_corpus_is_its_number_of_texts():
    assert len(Corpus(("a", "b"), ("x", "y"), ({}, {}))) == 2


# Judged queries.

QUERIES = '{"_id": "q1", "text": "cats?"}\n{"_id": "q2", "text": "dogs?"}\n'
QRELS = "query-id\tcorpus-id\tscore\nq1\ta\t2\nq1\tb\t0\nq2\tb\t1\n"


@pytest.fixture
def folder(write, tmp_path):
    """A small retrieval set; parts are replaced by keyword, `None` leaves one out."""

    def make(corpus=JSONL, queries=QUERIES, qrels=QRELS, packed="") -> Path:
        parts = {"corpus.jsonl": corpus, "queries.jsonl": queries, "qrels/test.tsv": qrels}
        for name, content in parts.items():
            if content is not None:
                write(name + packed, content)
        return tmp_path

    return make


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_a_retrieval_set_has_texts_and_grades(folder, packed):
    judged = read_retrieval_set(folder(packed=packed))
    assert judged.corpus.texts == ("On cats", "dogs")
    assert judged.queries.texts == ("cats?", "dogs?")
    assert judged.qrels == {"q1": {"a": 2.0, "b": 0.0}, "q2": {"b": 1.0}}


@pytest.mark.parametrize("line", ["", "q2\tb\t0\n"])
def test_a_query_without_relevant_documents_is_left_out(folder, line):
    judged = read_retrieval_set(folder(qrels=QRELS.replace("q2\tb\t1\n", line)))
    assert judged.queries.ids == ("q1",)
    assert set(judged.qrels) == {"q1"}


def test_integer_ids_are_judged_by_their_digits(folder):
    judged = read_retrieval_set(
        folder(
            corpus='{"_id": 1, "text": "x"}',
            queries='{"_id": 7, "text": "x?"}',
            qrels="query-id\tcorpus-id\tscore\n7\t1\t1\n",
        )
    )
    assert judged.qrels == {7: {1: 1.0}}


def test_the_split_asked_for_is_read(folder, write):
    path = folder()
    write("qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\tb\t1\n")
    assert read_retrieval_set(path, split="train").qrels == {"q1": {"b": 1.0}}
    assert read_retrieval_set(path) == read_retrieval_set(path, split="test")


def test_the_only_split_needs_no_name(folder, write):
    path = folder(qrels=None)
    write("qrels/train.tsv", QRELS)
    assert len(read_retrieval_set(path).queries) == 2


def test_an_unknown_split_lists_the_splits_there_are(folder, write):
    path = folder()
    write("qrels/train.tsv", QRELS)
    with pytest.raises(DataError, match=r"no judgments 'dev'.*'test', 'train'"):
        read_retrieval_set(path, split="dev")


@pytest.mark.parametrize(
    ("part", "message"),
    [("corpus", "neither corpus.jsonl nor"), ("queries", "neither queries"), ("qrels", ": none")],
)
def test_a_missing_part_is_named(folder, part, message):
    with pytest.raises(DataError, match=message):
        read_retrieval_set(folder(**{part: None}))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1\ta\t1", "line 5 judges query 'q1', document 'a' again, with another grade: 1 after 2"),
        ("q2\ta\tgood", "line 5 has the score 'good'"),
        ("q2\ta\tnan", "line 5 has the score 'nan'"),
        ("q2\ta", "line 5 has 2 fields"),
    ],
)
def test_a_judgement_that_makes_no_sense_is_named(folder, line, message):
    with pytest.raises(DataError, match=message):
        read_retrieval_set(folder(qrels=QRELS + line))


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ("q1\tz\t1\nq9\ta\t1\n", "of 2 judgments, 1 for a query .* and none is left"),
        ("q1\ta\tb\tc\td\n", "line 1 has 5 fields, and no header names them"),
        ("query-id\tcorpus-id\tscore\n", "judges no document relevant"),
        ("query-id\tcorpus-id\tscore\nq1\ta\t0\n", "judges no document relevant"),
        ("", "judges no document relevant"),
    ],
)
def test_judgments_without_content_are_refused(folder, qrels, message):
    with pytest.raises(DataError, match=message):
        read_retrieval_set(folder(qrels=qrels))


FORMS = {
    "TREC, tabs": ("qrels.txt", "q1\t0\ta\t2\nq1\t0\tb\t0\nq2\t0\tb\t1\n"),
    "TREC, spaces": ("qrels.trec", "q1 0 a 2\r\nq1 Q0   b 0\r\n\r\nq2 0 b 1"),
    "no header": ("qrels.tsv", "q1\ta\t2\nq1\tb\t0\nq2\tb\t1\n"),
    "a trailing tab": ("q.tsv", QRELS.replace("\n", "\t\n")),
    "a byte order mark": ("q.tsv", "\ufeff" + QRELS),
    "names with underscores": ("q.tsv", "query_id\tcorpus_id\tscore\n" + QRELS.split("\n", 1)[1]),
    "columns in another order": ("q.tsv", "score\tdoc_id\tqid\n2\ta\tq1\n0\tb\tq1\n1\tb\tq2\n"),
    "CSV": ("q.csv", 'Query-ID,Doc_ID,Relevance\nq1,a,2\n"q1",b,0\nq2,b,1.0\n'),
    "JSON lines": (
        "q.jsonl",
        '{"query-id": "q1", "corpus-id": "a", "score": 2}\n'
        '{"query_id": "q1", "corpus_id": "b", "score": 0}\n\n'
        '{"qid": "q2", "docid": "b", "label": 1}\n',
    ),
}


@pytest.mark.door(
    "judgments: TREC, CSV, JSON lines, other names or no header, a trailing tab", "read"
)
@pytest.mark.parametrize("form", FORMS)
def test_judgments_are_read_in_every_form(write, form):
    name, content = FORMS[form]
    qrels = read_qrels(write(name, content), ["q1", "q2"], ["a", "b"])
    assert qrels == {"q1": {"a": 2.0, "b": 0.0}, "q2": {"b": 1.0}}


@pytest.mark.door("judgments without scores", "grade 1")
@pytest.mark.parametrize(
    "content", ["q1\ta\nq2\tb\n", "query-id\tcorpus-id\nq1\ta\nq2\tb\n", "q1 a\nq2 b"]
)
def test_judgments_without_scores_have_grade_1(write, content):
    qrels = read_qrels(write("q.tsv", content), ["q1", "q2"], ["a", "b"])
    assert qrels == {"q1": {"a": 1.0}, "q2": {"b": 1.0}}


@pytest.mark.door("judgments of unknown ids, and equal ones twice", "left out, counted and told")
def test_judgments_of_unknown_ids_are_left_out_and_counted(write, caplog):
    path = write("q.tsv", QRELS + "q1\tz\t1\nq1\ty\t1\nq9\ta\t1\nq1\ta\t2\n")
    assert read_qrels(path, ["q1", "q2"], ["a", "b"]) == {
        "q1": {"a": 2.0, "b": 0.0}, "q2": {"b": 1.0},
    }  # fmt: skip
    (message,) = caplog.messages
    assert "of 7 judgments, 1 for a query that is not there, such as 'q9'" in message
    assert "2 for a document that is not there, such as 'z' and 1 come twice" in message


def test_json_lines_that_judge_nothing_are_refused(write):
    for content in ('{"query-id": "q1"}', "[1, 2]", "{", "[" * 100_000):
        with pytest.raises(DataError, match="line 1"):
            read_qrels(write("q.jsonl", content), ["q1"], ["a"])


@pytest.mark.parametrize(
    "qrels", [{}, {"q": {"d": 0}}, {"q": {"d": 1, "e": 1}}, {"q": {"d": 1}, "r": {"d": 1}}]
)
def test_a_retrieval_set_is_valid_from_birth(qrels):
    corpus, queries = Corpus(("d",), ("x",), ({},)), Corpus(("q",), ("x?",), ({},))
    assert RetrievalSet(corpus, queries, {"q": {"d": 1}}).queries is queries
    with pytest.raises(DataError):
        RetrievalSet(corpus, queries, qrels)


# Real collections.


def test_the_demo_ships_a_judged_corpus():
    demo = load()
    titles = dict(zip(demo.corpus.ids, (m["title"] for m in demo.corpus.metadata), strict=True))
    assert len(demo.corpus) > 10 * len(demo.queries) > 1000
    for id_, title in zip(demo.queries.ids, demo.queries.texts, strict=True):
        assert [titles[doc] for doc in demo.qrels[id_]] == [title]


def test_no_text_of_the_demo_is_empty_or_repeated():
    texts = load().corpus.texts
    assert all(texts)
    assert len(set(texts)) == len(texts)


@needs_shared
def test_the_demo_is_what_its_script_makes(tmp_path):
    script = ROOT / "scripts" / "make_demo_corpus.py"
    table = SHARED / "texts" / "arxiv-100k.tsv.gz"
    subprocess.run([sys.executable, script, table, tmp_path], check=True, timeout=120)
    assert read_retrieval_set(tmp_path) == load()
    shipped = ROOT / "src" / "nestvec" / "demo" / "arxiv" / "README.md"
    assert (tmp_path / "README.md").read_text("utf-8") == shipped.read_text("utf-8")


@needs_shared
@pytest.mark.parametrize("name", ["cacm", "cisi", "cranfield", "limit-small", "xquad-zh"])
def test_real_retrieval_sets_are_read_whole(name):
    judged = read_retrieval_set(SHARED / "retrieval" / name)
    with gzip.open(SHARED / "retrieval" / name / "corpus.jsonl.gz") as file:
        assert len(judged.corpus) == sum(1 for _ in file)
    with (SHARED / "retrieval" / name / "qrels" / "test.tsv").open() as file:
        assert sum(map(len, judged.qrels.values())) == sum(1 for _ in file) - 1


@needs_shared
def test_a_real_table_of_papers_needs_no_options():
    papers = read_texts(SHARED / "texts" / "arxiv-100k.tsv.gz", limit=500)
    assert set(papers.metadata[0]) == {"primary_cat", "categories", "created"}
    assert all(len(text) > 20 for text in papers.texts)


def test_every_refusal_is_an_error_of_nestvec():
    with pytest.raises(NestvecError):
        read_texts("no such file.tsv")


# Hard negatives.

TRIPLETS = "query-id\tpositive-id\tnegative-id\tkind\n7\ta\tb\tnegation\n"


def test_hard_negatives_have_the_ids_of_the_texts(write):
    path = write("hard.tsv", TRIPLETS)
    assert read_triplets(path, [7], ["a", "b"]) == [(7, "a", "b", "negation")]


def test_hard_negatives_without_a_kind_are_unlabelled(write):
    path = write("hard.tsv", TRIPLETS.replace("\tkind", "").replace("\tnegation", ""))
    assert read_triplets(path, [7], ["a", "b"]) == [(7, "a", "b", "unlabelled")]


@pytest.mark.parametrize(
    ("queries", "documents", "message"),
    [([8], ["a", "b"], "query '7'"), ([7], ["a"], "document 'b'")],
)
def test_hard_negatives_of_what_is_not_there_are_refused(write, queries, documents, message):
    with pytest.raises(DataError, match=message):
        read_triplets(write("hard.tsv", TRIPLETS), queries, documents)


# Columns.

COLUMNS = "query-id\tlanguage\tfrequency\n7\tde\t12\n8\ten\t3\n"


def test_columns_are_in_the_order_of_the_ids(write):
    found = read_columns(write("slices.tsv", COLUMNS), "query-id", [8, 7])
    assert found == {"language": ["en", "de"], "frequency": ["3", "12"]}


@pytest.mark.parametrize(
    ("content", "ids", "message"),
    [
        (COLUMNS, [7, 9], "no query-id 9"),
        (COLUMNS + "7\tde\t1\n", [7], "'7' again"),
        (COLUMNS.replace("query-id", "id"), [7], "needs query-id"),
        ("query-id\tx\n", [7], "names nothing"),
    ],
)
def test_columns_that_leave_out_an_id_are_refused(write, content, ids, message):
    with pytest.raises(DataError, match=message):
        read_columns(write("slices.tsv", content), "query-id", ids)


# Names that say less than the content.


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("UP.JSONL", JSONL),
        ("X.TSV.GZ", TSV),
        ("x.ndjson", JSONL),
        ("x.ndjson.gz", JSONL),
        ("x.json", "[" + JSONL.strip().replace("\n", ",\n") + "]"),
        ("without a suffix", JSONL),
    ],
)
def test_names_in_other_letters_and_json_under_other_names_are_read(tmp_path, name, content):
    raw = content.encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(raw) if name.lower().endswith(".gz") else raw)
    assert read_texts(path).texts == ("On cats", "dogs")


def test_a_file_may_be_gzipped_without_saying_so(tmp_path):
    (tmp_path / "x.tsv").write_bytes(gzip.compress(TSV.encode()))
    assert read_texts(tmp_path / "x.tsv").texts == ("On cats", "dogs")


def test_zstandard_is_read_and_damage_is_named(tmp_path):
    zstd = pytest.importorskip("backports.zstd")
    whole = zstd.compress(JSONL.encode())
    path = tmp_path / "x.jsonl.zst"
    path.write_bytes(whole)
    assert read_texts(path).texts == ("On cats", "dogs")
    for damaged in (whole[:-3], whole[:6], whole[:5] + b"\xff\xff" + whole[7:]):
        path.write_bytes(damaged)
        assert "no whole Zstandard file" in refusal(path)


def test_zstandard_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    module = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "x.jsonl").write_bytes(b"\x28\xb5\x2f\xfd\x04\x00\x09\x00\x00{}")
    with pytest.raises(MissingExtraError, match=r"pip install 'nestvec\[zst\]'"):
        read_texts(tmp_path / "x.jsonl")


def test_a_record_of_an_array_is_named_by_its_number(write):
    assert "record 2 is not a JSON object" in refusal(write("x.json", '[{"text": "a"},\n 3]'))


@pytest.mark.parametrize(
    "record",
    [
        {"embedding": [1, 2]},
        {"more": list(range(16))},
        {"deep": {"er": [0.5] * 16}},
        {"metadata": {"m": [[0.5] * 16]}},
    ],
)
def test_texts_with_vectors_are_refused_where_asked(write, record):
    path = write("x.jsonl", JSONL + json.dumps({"_id": "c", "text": "x", **record}))
    message = refusal(path, refuse_vectors=True)
    assert "line 3 holds numbers" in message
    assert "--key" in message
    assert "--text-column" in message
    assert read_texts(path).texts[2] == "x"


# --- quotes, long fields and half characters ---


@pytest.mark.door("a TSV whose fields are quoted as in a CSV", "the quotes are taken off")
@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ('id\ttext\n1\t"he said ""no"""\n2\tplain\n', ('he said "no"', "plain")),
        ('id\ttext\n1\t"two\nlines"\n2\tplain\n', ("two\nlines", "plain")),
        ('id\ttext\n1\t"a\ttab"\n2\tplain\n', ("a\ttab", "plain")),
        ('"id"\t"text"\n"1"\t"quoted"\n"2"\t"all"\n', ("quoted", "all")),
    ],
)
def test_a_quoted_tsv_is_unquoted(tmp_path, content, texts):
    path = tmp_path / "x.tsv"
    path.write_text(content)
    assert read_texts(path).texts == texts


@pytest.mark.door("a TSV with texts that are in quotes", "they stay as written")
@pytest.mark.parametrize(
    "rows",
    [
        ['"Hello"', "plain"],
        ['"open', 'and ""doubled""'],
        ['"Hello" he said', '"a ""b"""'],
        ['5" disks', "say"],
    ],
)
def test_quotes_of_a_tsv_that_is_not_quoted_stay(tmp_path, rows):
    path = tmp_path / "x.tsv"
    path.write_text("id\ttext\n" + "".join(f"{n}\t{row}\n" for n, row in enumerate(rows)))
    assert read_texts(path).texts == tuple(rows)


@pytest.mark.door("a field of a CSV longer than 128 KiB", "read")
def test_long_fields_are_read(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(f"id,text\n1,{'a' * 200_000}\n")
    assert len(read_texts(path).texts[0]) == 200_000


@pytest.mark.door(
    "an escape in JSON that is half of a surrogate pair", "an error names the line and the escape"
)
@pytest.mark.parametrize(
    ("content", "place"),
    [
        ('{"text": "ok"}\n{"text": "half \\ud83d"}\n', r"line 2 holds the escape \ud83d"),
        ('[{"text": "ok"},\n {"m": {"deep": ["\\uDC00"]}}]', r"record 2 holds the escape \udc00"),
    ],
)
def test_half_a_surrogate_pair_is_named(tmp_path, content, place):
    path = tmp_path / "x.json"
    path.write_text(content)
    assert place in refusal(path)


def test_whole_surrogate_pairs_are_characters(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "\\ud83d\\ude00"}\n')
    assert read_texts(path).texts == ("\U0001f600",)
