"""Charts of quality against bytes."""

import pytest

from nestvec.charts import ChartLayout, Panel, Series, save_chart

LAYOUT = ChartLayout("A title", "bytes per vector", (6, 4), legend_columns=2)


def series(**options):
    return Series("a", [4, 8, 16], [0.1, 0.4, 0.5], "#D55E00", "o", 6, **options)


def png(path, *curves):
    save_chart(path, [Panel("recall@10", curves)], LAYOUT, extra="plot")
    return path.read_bytes()


def test_every_part_of_a_series_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    plain = png(tmp_path / "plain.png", series())
    assert plain.startswith(b"\x89PNG")
    assert plain == png(tmp_path / "again.png", series())
    pictures = [
        png(tmp_path / "a.png", series(**option))
        for option in (
            {"connected": False},
            {"intervals": [(0.0, 0.2), (0.3, 0.5), (0.4, 0.6)]},
            {"marker_edge": "white"},
            {"point_labels": ["first", "second", "third"]},
        )
    ]
    assert len({plain, *pictures}) == 5
