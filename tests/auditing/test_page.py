"""The report page: one file that loads nothing and shows every number of the report."""

import copy
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("jinja2")
pytest.importorskip("vl_convert")

import vl_convert

from nestvec.auditing import StressOptions, audit
from nestvec.auditing.reporting.formatting import format_size, format_time
from nestvec.auditing.reporting.page import render, save_html
from nestvec.auditing.reporting.page.charts import SERIES_COLORS
from nestvec.auditing.reporting.page.metrics import describe_reason, metric_title
from nestvec.auditing.reporting.page.page import _read_asset
from nestvec.errors import MissingExtraError, StorageError

LIMIT_BYTES = 2_500_000
N, Q, DIM = 300, 80, 32
HOSTILE = "</script><img src=x onerror=alert(1)> & \"'"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """The elements of a page, and what it would load; fails on one that is closed out of turn."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.loads, self.open = [], [], [], []
        self.texts = {"script": [], "h1": [], "h2": []}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "srcset", "data", "action", "poster"):
                self.loads.append(value)
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in self.texts:
            self.texts[self.open[-1]][-1] += data

    def charts(self):
        return [json.loads(text) for text in self.texts["script"] if text.startswith("{")]


def audit_everything(rng):
    """Audit vectors whose first dimensions matter most, with data for every check."""
    vectors = rng.standard_normal((N, DIM)) / np.arange(1, DIM + 1)
    queries = vectors[:Q] + 0.2 * rng.standard_normal((Q, DIM)) / np.arange(1, DIM + 1)
    unit = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in (vectors, queries)]
    negatives = [(q, q, Q + q, ("number", "negation")[q % 2]) for q in range(Q)]
    return audit(
        *unit,
        qrels={q: {q: 1} for q in range(Q)},
        hard_negatives=negatives,
        stress=StressOptions(slices={"half": np.arange(Q) < Q // 2}, labels=np.arange(N) % 3),
        variants=[
            *({"dims": d, "bits": b} for d in (8, 16, 32) for b in (32, 8)),
            {"dims": 16, "bits": 8, "side": "documents"},
            {"dims": 16, "random_dims": True, "control": "as many bytes as 16 dims"},
        ],
    ).to_json()


@pytest.fixture(scope="module")
def audited():
    return audit_everything(np.random.default_rng(4))


@pytest.fixture
def report(audited):
    return copy.deepcopy(audited)


@pytest.fixture(scope="module")
def html(audited):
    return render(audited)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def decide(report, verdict):
    for variant in report["variants"]:
        variant["verdict"] = verdict


# --- one file ------------------------------------------------------------------------------------


def test_the_page_loads_nothing(page, html):
    assert page.loads
    assert all(place.startswith("#") for place in page.loads)
    assert "url(" not in _read_asset("page.css")
    assert "@import" not in _read_asset("page.css")


def test_a_policy_forbids_the_browser_to_load_anything(page):
    policies = [a["content"] for tag, a in page.tags if "Content-Security-Policy" in a.values()]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'")


def test_links_lead_to_places_in_the_page(page):
    assert {place.removeprefix("#") for place in page.loads} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)


def test_the_page_is_small(html):
    assert len(html.encode()) < LIMIT_BYTES


def test_it_is_written_as_utf_8(report, tmp_path):
    save_html(report, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes().decode("utf-8") == render(report)


def test_the_error_names_a_folder_that_does_not_exist(report, tmp_path):
    with pytest.raises(StorageError, match="nowhere"):
        save_html(report, tmp_path / "nowhere" / "report.html")


def test_the_error_names_the_missing_extra(report, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    with pytest.raises(MissingExtraError, match=r"nestvec\[audit\]"):
        render(report)


# --- texts ---------------------------------------------------------------------------------------


def test_texts_are_escaped_everywhere(report, page):
    report["command"] = report["created_at"] = HOSTILE
    report["preflight"][0]["message"] = report["preflight"][0]["name"] = HOSTILE
    report["worst_queries"] = {
        HOSTILE: [
            {
                "query": HOSTILE, "text": HOSTILE, "baseline_score": 1.0, "variant_score": 0.0,
                "baseline_top": [HOSTILE], "variant_top": [HOSTILE],
            }
        ]
    }  # fmt: skip
    for variant in report["variants"]:
        variant |= {"name": HOSTILE, "label": HOSTILE, "reasons": [HOSTILE]}
        metrics = variant["metrics"]
        metrics[f"triplet_accuracy:{HOSTILE}"] = metrics["triplet_accuracy"]
    hostile = Page(render(report))
    kinds = {tag for tag, _ in page.tags}
    assert {tag for tag, _ in hostile.tags} <= kinds
    assert HOSTILE not in render(report)
    assert len(hostile.charts()) == len(page.charts())


# --- sections ------------------------------------------------------------------------------------

SECTIONS = {
    "relevance": lambda r: drop_metrics(r, "ndcg|mrr|recall|loss_p5|large_losses"),
    "hard-negatives": lambda r: drop_metrics(
        r, "triplet|group|net|flip|rank_in|margin|excess|retention_"
    ),
    "kinds": lambda r: drop_metrics(r, "triplet_accuracy:"),
    "stress": lambda r: drop_metrics(r, ".*_interaction"),
    "few-shot": lambda r: drop_metrics(r, "few_shot"),
    "poisoning": lambda r: drop_metrics(r, "attack"),
    "slices": lambda r: drop_metrics(r, "slice"),
    "asymmetry": lambda r: r.pop("asymmetry"),
    "growth": lambda r: [variant["details"].pop("corpus_growth") for variant in r["variants"]],
    "controls": lambda r: r["variants"].pop(),
    "preflight": lambda r: [part.pop("preflight") for part in (r, *r["variants"])],
    "worst-queries": lambda r: r.pop("worst_queries"),
    "thresholds": lambda r: r.pop("thresholds"),
    "rerun": lambda r: r.pop("command"),
}


def drop_metrics(report, pattern):
    for variant in report["variants"]:
        metrics = variant["metrics"]
        variant["metrics"] = {n: m for n, m in metrics.items() if not re.match(pattern, n)}


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_appears_exactly_if_the_report_has_its_content(section, report, page):
    assert section in page.ids
    SECTIONS[section](report)
    assert section not in Page(render(report)).ids


def test_headings_step_down_one_level_at_a_time(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_every_table_has_a_caption_and_headings_for_columns_and_rows(page):
    tables = sum(tag == "table" for tag, _ in page.tags)
    assert tables == sum(tag == "caption" for tag, _ in page.tags)
    scopes = [a.get("scope") for tag, a in page.tags if tag == "th"]
    assert set(scopes) == {"col", "row"}


# --- charts --------------------------------------------------------------------------------------


def test_every_chart_has_a_description(page):
    assert page.charts()
    assert all(chart["description"] for chart in page.charts())


def test_every_chart_can_be_drawn(page):
    for chart in page.charts():
        assert "<svg" in vl_convert.vegalite_to_svg({**chart, "width": 400})


def test_a_chart_has_no_infinite_numbers(report):
    for variant in report["variants"]:
        variant["metrics"]["ndcg@10_retention"]["high"] = None
    for chart in Page(render(report)).charts():
        json.dumps(chart, allow_nan=False)


def test_there_is_a_colour_for_every_series():
    assert set(re.findall(r"--series-(\d+):", _read_asset("page.css"))) == {
        str(i + 1) for i in range(SERIES_COLORS)
    }


@pytest.mark.parametrize("background", ["paper", "card"])
@pytest.mark.parametrize("theme", [0, 1])
def test_texts_have_contrast_with_their_background(background, theme):
    colours = dict(
        re.findall(r"--([\w-]+): (#\w{6});", _read_asset("page.css").split("@media")[theme])
    )
    for name in ("ink", "quiet", "link", "pass", "fail", "wait"):
        assert contrast(colours[name], colours[background]) >= 4.5, name


def contrast(text, background):
    """WCAG 2's ratio of luminances."""
    light, dark = sorted((luminance(text), luminance(background)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    shares = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


# --- the first screen ----------------------------------------------------------------------------


def test_the_smallest_size_that_passed_is_the_headline(report):
    decide(report, "FAIL")
    report["variants"][0]["verdict"] = report["variants"][2]["verdict"] = "PASS"
    html = render(report)
    assert Page(html).texts["h1"] == ["Smallest safe size: 8 dimensions, full precision"]
    assert "32 bytes instead of 128 bytes, 4 times less" in html


def test_a_control_is_never_recommended(report):
    decide(report, "FAIL")
    report["variants"][-1]["verdict"] = "PASS"
    assert "None of the smaller sizes tested is safe" in Page(render(report)).texts["h1"]


def test_full_vectors_are_not_recommended_as_a_smaller_size(report):
    decide(report, "FAIL")
    widest = next(v for v in report["variants"] if (v["dims"], v["bits"]) == (DIM, 32))
    widest["verdict"] = "PASS"
    assert "None of the smaller sizes tested is safe" in Page(render(report)).texts["h1"]


def test_too_little_data_is_shown_with_the_queries_needed(report):
    decide(report, "FAIL")
    report["variants"][0] |= {
        "verdict": "INSUFFICIENT DATA", "reasons": ["half is known"], "queries_needed": 1234,
    }  # fmt: skip
    html = render(report)
    assert Page(html).texts["h1"][0].startswith("Too little data")
    assert "half is known (about 1,234 queries would decide it)" in html


def test_a_failed_preflight_is_all_that_the_first_screen_shows(report):
    decide(report, "PASS")
    report["preflight"][0] |= {"status": "fail", "message": "half the rows are copies"}
    html = render(report)
    first_screen = html.split("</header>")[0]
    assert "fix that first" in Page(html).texts["h1"][0]
    assert "half the rows are copies" in first_screen
    assert 'class="numbers"' not in first_screen


def test_a_pass_without_hard_negatives_is_marked(report):
    decide(report, "FAIL")
    report["variants"][0]["verdict"] = "PASS"
    assert "Hard negatives were measured for other variants" not in render(report)
    del report["variants"][0]["metrics"]["net_flips"]
    assert "Hard negatives were measured for other variants" in render(report)


def test_documents_of_the_worst_queries_are_quoted(report):
    worst = next(queries for queries in report["worst_queries"].values() if queries)
    report["worst_queries"] = dict.fromkeys(report["worst_queries"], worst)
    assert "Beginnings of these documents" not in render(report)
    report["texts"] = {str(worst[0]["baseline_top"][0]): "once upon a time"}
    assert "once upon a time" in render(report)


def test_times_are_formatted_to_the_minute():
    assert format_time("2026-11-21T18:57:10+00:00") == "2026-11-21 18:57 UTC"
    assert format_time(None) == ""


def test_a_ratio_far_above_one_is_drawn_at_the_edge_and_its_tooltip_is_exact(report):
    ratio = {"value": 7.0, "low": 2.0, "high": 9.0, "n": 80}
    for variant in report["variants"]:
        variant["metrics"]["noise_0.99_interaction"] = ratio
    charts = [c for c in Page(render(report)).charts() if "stress" in c["description"]]
    drawn = [d for d in charts[0]["data"]["values"] if d["position"] == "noise, cosine 0.99"]
    assert drawn
    assert all(d["high"] == d["value"] == 1.5 and d["text"].startswith("7 (2 to 9") for d in drawn)


def test_without_judgments_the_first_screen_shows_the_overlap_with_the_baseline():
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((100, 16))
    html = render(audit(vectors, vectors[:30] + 0.1, variants=[{"dims": 8}]).to_json())
    assert "Overlap@10 with the baseline" in html.split("</header>")[0]
    assert "relevance" not in Page(html).ids


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (96.0, "96 bytes"),
        (1536.0, "1,536 bytes"),
        (67_200.0, "67.2 kB"),
        (1.536e9, "1.54 GB"),
        (2.5e12, "2.5 TB"),
    ],
)
def test_sizes_have_the_unit_that_fits(size_bytes, text):
    assert format_size(size_bytes) == text


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("ndcg@10_retention", "nDCG@10 retention"),
        ("net_flips:negation", "Net flips: negation"),
        ("noise_0.99_interaction", "Relative retention (noise, cosine 0.99)"),
        ("typos_retention", "Retention (typing errors)"),
        ("few_shot_interaction", "Relative retention (few-shot classification)"),
        (
            "shortlist_recall@100_at_tenth",
            "Relevant documents in a shortlist of 100 in a tenth of the corpus",
        ),
        ("a_new_metric", "a new metric"),
    ],
)
def test_metrics_have_titles(name, title):
    assert metric_title(name) == title


def test_reasons_name_metrics_by_their_titles():
    assert describe_reason("net_flips is 0.3").startswith("Net flips is 0.3")
    assert describe_reason("64 dims does not pass") == "64 dims does not pass"
