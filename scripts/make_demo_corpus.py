"""Make the demo corpus from a table of arXiv metadata; the same table gives the same bytes.

    python scripts/make_demo_corpus.py arxiv.tsv.gz src/nestvec/demo/arxiv

The table has the columns arxiv_id, primary_cat, categories, created, title and abstract.
"""

import argparse
import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path

from nestvec.data import Corpus, read_texts

# Neighbouring fields: papers of the same category are natural near misses for a title.
CATEGORIES = ("AI", "CL", "CV", "DB", "DL", "HC", "IR", "LG", "NE", "RO")
QUERIES = 400
MIN_TITLE_WORDS = 4
MIN_ABSTRACT_CHARS = 200  # shorter ones are mostly notices of withdrawal
MAX_ABSTRACT_CHARS = 700  # keeps the installed package small

README = """\
# The demo corpus: computer science abstracts and titles from arXiv

{documents:,} abstracts of papers from {first} to {last} whose primary category is one of
{categories},
and {queries} titles as queries. Each title has one relevant document: the abstract of its own
paper. Papers of the same category are natural near misses. Titles are not part of the document
texts; they stand in the metadata, to be shown with a hit.

- **Source**: arXiv metadata (titles, abstracts, identifiers, categories, dates).
- **Licence**: CC0 1.0 Universal. arXiv gives its descriptive metadata under these terms:
  <https://info.arxiv.org/help/api/tou.html>. The papers themselves are not included.
- **Made by** `scripts/make_demo_corpus.py`, which is deterministic. Abstracts under
  {shortest} characters (mostly notices of withdrawal) and repeated titles or abstracts were left
  out; abstracts over {longest} characters end at the last sentence (or word) within that length.
  The source table had its identifiers stored as numbers; lost zeros and rounding were repaired.
  The queries are the {queries} papers with the smallest SHA-256 of the identifier among those with
  at least {words} words in the title.
- **Mind**: one relevant document per query is what is known, not all there is; other abstracts may
  answer a title as well. The papers are old, and models may have seen them.

Layout as in BEIR: `corpus.jsonl.gz`, `queries.jsonl.gz`, `qrels/test.tsv`.
"""


def main() -> None:
    """Read the table and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="arXiv metadata, .tsv or .tsv.gz")
    parser.add_argument("folder", type=Path, help="where the corpus goes")
    args = parser.parse_args()
    papers = select(read_texts(args.table, text_columns="abstract", id_column="arxiv_id"))
    asked = choose_queries(papers)
    (args.folder / "qrels").mkdir(parents=True, exist_ok=True)
    write_jsonl(args.folder / "corpus.jsonl.gz", papers)
    write_jsonl(
        args.folder / "queries.jsonl.gz",
        ({"_id": f"q{paper['_id']}", "text": paper["metadata"]["title"]} for paper in asked),
    )
    judgements = [f"q{paper['_id']}\t{paper['_id']}\t1\n" for paper in asked]
    write_text(
        args.folder / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore\n" + "".join(judgements)
    )
    write_text(args.folder / "README.md", describe(papers))


def select(table: Corpus) -> list[dict]:
    """The papers of our categories as BEIR documents, without stubs and repetitions."""
    wanted = {f"cs.{name}" for name in CATEGORIES}
    seen: set[str] = set()
    papers = []
    for id_, abstract, row in zip(table.ids, table.texts, table.metadata, strict=True):
        title = row["title"].strip()
        if row["primary_cat"] not in wanted or len(abstract) < MIN_ABSTRACT_CHARS:
            continue
        # A title or text that stands for two papers would have two right answers.
        text = shorten(abstract)
        if {title.lower(), text} & seen:
            continue
        seen |= {title.lower(), text}
        metadata = {"title": title, "category": row["primary_cat"], "year": int(row["created"][:4])}
        papers.append({"_id": repair_id(str(id_)), "title": "", "text": text, "metadata": metadata})
    return papers


def repair_id(arxiv_id: str) -> str:
    """`YYMM.NNNN` (five digits since 2015) from an id that was stored as a floating point number.

    >>> repair_id("911.4338"), repair_id("1504.0394099999999"), repair_id("cs/0701001")
    ('0911.4338', '1504.03941', 'cs/0701001')
    """
    if not re.fullmatch(r"\d+\.\d+", arxiv_id):
        return arxiv_id
    digits = 5 if float(arxiv_id) >= 1501 else 4
    return f"{float(arxiv_id):0{5 + digits}.{digits}f}"


def shorten(abstract: str) -> str:
    """The abstract up to its last sentence end within the limit, or its last word.

    A sentence end in the first half would lose more than a broken sentence does.
    """
    text = " ".join(abstract.split())
    if len(text) <= MAX_ABSTRACT_CHARS:
        return text
    head = text[: MAX_ABSTRACT_CHARS + 1]
    sentences = re.match(rf".{{{MAX_ABSTRACT_CHARS // 2},}}[.!?](?= )", head)
    return sentences[0] if sentences else head.rpartition(" ")[0]


def choose_queries(papers: list[dict]) -> list[dict]:
    """A fixed pseudo-random choice that does not depend on the order of the table."""
    titled = [p for p in papers if len(p["metadata"]["title"].split()) >= MIN_TITLE_WORDS]
    return sorted(titled, key=lambda p: hashlib.sha256(p["_id"].encode()).digest())[:QUERIES]


def describe(papers: list[dict]) -> str:
    """The README of the corpus."""
    years = [paper["metadata"]["year"] for paper in papers]
    return README.format(
        documents=len(papers),
        queries=QUERIES,
        first=min(years),
        last=max(years),
        categories=", ".join(f"cs.{name}" for name in CATEGORIES),
        shortest=MIN_ABSTRACT_CHARS,
        longest=MAX_ABSTRACT_CHARS,
        words=MIN_TITLE_WORDS,
    )


def write_jsonl(path: Path, records: Iterable[dict]) -> None:
    """One JSON object a line, gzipped without name or time, so that equal input is equal bytes."""
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=9, mtime=0) as file:
        file.write(lines.encode())
    path.write_bytes(packed.getvalue())


def write_text(path: Path, text: str) -> None:
    """UTF-8 with `\\n` line ends on every system."""
    path.write_bytes(text.encode())


if __name__ == "__main__":
    main()
