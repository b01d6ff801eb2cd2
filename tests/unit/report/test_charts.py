import re
from typing import Any
from xml.etree import ElementTree

import pytest

from stillery.report.charts import Bar, Line, Point, line_chart
from stillery.templating import make_environment

CHARTS: Any = make_environment("stillery.report").get_template("charts.html").module
HOSTILE = '<script>alert("x")</script>'


def lines(series: list[Line], *, label: str = "x", x_name: str = "step") -> str:
    return CHARTS.lines(line_chart(series, x_name), label=label)


def _widths(svg: str, style: str) -> list[float]:
    root = ElementTree.fromstring(svg)
    return [float(r.attrib["width"].rstrip("%")) for r in root.iter("rect") if r.attrib["class"] == style]


def _texts(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter("text")]


def test_a_bar_is_as_wide_as_its_share_of_the_axis() -> None:
    svg = CHARTS.grouped_bars(
        [("coins", [Bar("before", "Before", 0.25, 0.1), Bar("after", "After", 1.0, None)])], label="x"
    )
    assert _widths(svg, "fill before") == [CHARTS.SPAN / 4]
    assert _widths(svg, "fill after") == [CHARTS.SPAN]
    assert {"coins", "25.0% ± 10.0", "100.0%"} <= set(_texts(svg))


def test_an_error_bar_stays_on_the_axis() -> None:
    svg = CHARTS.grouped_bars(
        [("t", [Bar("after", "After", 0.02, 0.1)]), ("u", [Bar("after", "After", 0.99, 0.1)])], label="x"
    )
    whiskers = [w.attrib for w in ElementTree.fromstring(svg).iter("line") if w.attrib["class"] == "error"]
    assert [(w["x1"], w["x2"]) for w in whiskers] == [("0%", "9.12%"), ("67.64%", "76%")]


def test_counts_are_drawn_against_the_largest() -> None:
    svg = CHARTS.count_bars([("wrong", 4000), ("truncated", 1000), ("timeout", 0)], label="x")
    assert _widths(svg, "plain") == [CHARTS.SPAN, CHARTS.SPAN / 4, 0]
    assert {"4,000", "1,000", "0"} <= set(_texts(svg))
    assert _widths(CHARTS.count_bars([("wrong", 0)], label="x"), "plain") == [0]


def test_a_funnel_narrows_with_the_counts_and_names_shares_of_the_first() -> None:
    svg = CHARTS.funnel([("generated", 800), ("correct", 400), ("kept", 200)], label="x")
    assert _widths(svg, "stage") == [100, 50, 25]
    assert _texts(svg) == ["generated: 800", "correct: 400, 50.0%", "kept: 200, 25.0%"]


def test_an_empty_funnel_is_drawn() -> None:
    assert _texts(CHARTS.funnel([("generated", 0), ("correct", 0), ("kept", 0)], label="x"))[2] == "kept: 0, 0.0%"


def test_a_line_runs_from_corner_to_corner_of_its_values() -> None:
    svg = lines([Line("train", "Training", [Point(0, 4.0), Point(10, 0.0)])])
    (stroke,) = ElementTree.fromstring(svg).iter("polyline")
    assert stroke.attrib["points"] == "0.0,0.0 1000.0,1000.0"


def test_shares_are_marked_with_error_bars_on_an_axis_to_100_percent() -> None:
    series = [
        Line("after", "After", [Point(2, 0.5, 0.1), Point(3, 0.4, None)]),
        Line("teacher", "Teacher", [Point(2, 0.9, 0.1)]),
    ]
    svg = CHARTS.lines(line_chart(series, "steps", shares=True), label="x")
    root = ElementTree.fromstring(svg)
    assert len([mark for mark in root.iter() if mark.attrib.get("class") == "mark"]) == 3
    assert {"0%", "100%", "2", "3", "steps"} <= set(_texts(svg))


@pytest.mark.parametrize("points", [[Point(1, 0.5)], [Point(1, 0.0), Point(2, 0.0)], [Point(5, 1e-9), Point(6, 1e9)]])
def test_degenerate_values_give_finite_coordinates(points: list[Point]) -> None:
    svg = lines([Line("train", "Training", points)])
    assert not re.search(r"nan|inf", svg.replace("inherit", ""))
    ElementTree.fromstring(svg)


def test_names_are_escaped_everywhere() -> None:
    svgs = [
        CHARTS.grouped_bars([(HOSTILE, [Bar("after", HOSTILE, 0.5, 0.1)])], label=HOSTILE),
        CHARTS.count_bars([(HOSTILE, 1)], label=HOSTILE),
        CHARTS.funnel([(HOSTILE, 1), (HOSTILE, 1)], label=HOSTILE),
        lines([Line("after", HOSTILE, [Point(1, 1)])], label=HOSTILE, x_name=HOSTILE),
    ]
    for svg in svgs:
        assert "<script" not in svg
        assert ElementTree.fromstring(svg).attrib["aria-label"] == HOSTILE
