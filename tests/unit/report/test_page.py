import dataclasses
import re
from html.parser import HTMLParser

import pytest

from stillery.bonds import analyze
from stillery.metrics import summarize
from stillery.report import Evaluation, ReportData, render
from stillery.report.results import by_length
from stillery.report.traces import choose_problem, choose_samples
from support.receipts import receipt_of
from support.report_runs import AFTER, BEFORE, FUNNEL, make_comparison, make_evaluation, make_report
from support.score_rows import make_score, make_scores

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)></pre></style>\"'&"


class Page(HTMLParser):
    """The tags with their attributes and the text of a page, as a browser would take them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_headline_says_before_after_teacher_and_what_was_registered() -> None:
    text = " ".join(Page(render(make_report())).text.split())
    # Per-problem rates: before 1/4 and 0, after 1 and 1/2, teacher 1 and 3/4.
    assert "The student went from 12.5% ± 12.5 to 75.0% ± 25.0 pass@1 on 2 test problems" in text
    assert "its teacher reaches 87.5% ± 12.5" in text
    assert "That is a change of +62.5 points" in text
    assert "Registered as stillery-student version 3, alias: champion. Promoted: the interval" in text
    assert "2025-11-21, revision 0123456789ab" in text


def test_sections_come_in_the_order_in_which_a_reader_asks() -> None:
    sections = [attributes["id"] for tag, attributes in Page(render(make_report())).tags if tag == "section"]
    assert sections == ["results", "demonstration", "data", "breakdown", "training", "traces", "settings"]


def test_the_table_has_every_model_on_every_split() -> None:
    page = render(make_report())
    table = page[page.index("<table>") : page.index("</table>")]
    rows = re.findall(r"<th scope=\"row\">([^<]*)</th>", table)
    assert rows == ["Student before", "Student after", "Teacher"] * 3
    groups = re.findall(r'rowgroup" colspan="8"><span>([^:<]*)', table)
    assert groups == ["Test", "Longer than trained", "Task not seen in training"]
    assert "<td>75.0% ± 25.0</td><td>100.0%</td><td>100.0%</td>" in table


def test_a_models_own_text_never_becomes_markup() -> None:
    scores = [
        make_score(HOSTILE, i, completion=HOSTILE, predicted=HOSTILE, question=HOSTILE, gold=HOSTILE, task=HOSTILE)
        for i in range(4)
    ]
    evaluation = Evaluation(scores, summarize(scores, ks=[4]))
    registered = {"name": HOSTILE, "version": HOSTILE, "aliases": [HOSTILE], "decision": HOSTILE}
    funnel = FUNNEL | {"dropped": {HOSTILE: 3}}
    page = render(
        make_report(
            before=evaluation,
            after=evaluation,
            teacher=evaluation,
            registered=registered,
            funnel=funnel,
            run_name=HOSTILE,
            git_revision=HOSTILE,
            config_yaml=HOSTILE,
            verdicts={HOSTILE: 2},
        )
    )
    parsed = Page(page)
    names = {tag for tag, _ in parsed.tags}
    assert not names & {"script", "img", "iframe", "object", "embed", "form", "a"}
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert page.count("</style>") == 1
    assert parsed.text.count(HOSTILE) > 10


def test_benchmarks_are_a_section_where_there_are_any() -> None:
    lost = {"mean": -0.4, "low": -0.5, "high": -0.3, "verdict": "lost"}
    receipt = receipt_of(0.4) | {"forgetting": {"against": HOSTILE, "max_loss": 0.02, "tasks": {"t": lost}}}
    page = render(make_report(benchmarks=[receipt]))
    assert '<th scope="row">t</th><td>12</td><td>5</td><td>40.0% ± 0.0</td>' in page
    assert f"Against {HOSTILE}, by 95% interval: t -40.0 points [-50.0, -30.0] (lost)." in Page(page).text
    assert 'id="benchmarks"' not in render(make_report())


def test_completions_are_shown_verbatim() -> None:
    completion = "<think>\n  2 < 3 && 5 > 4\n\n\ttab</think>\n<answer>7</answer>"
    scores = [make_score("p", completion=completion)]
    page = render(make_report(after=Evaluation(scores, summarize(scores, ks=[1])), before=None))
    assert completion in Page(page).text


def test_the_page_loads_nothing() -> None:
    page = render(make_report())
    parsed = Page(page)
    assert [attributes.get("href") for tag, attributes in parsed.tags if tag == "link"] == ["data:,"]
    assert not [tag for tag, attributes in parsed.tags if "src" in attributes]
    assert not re.search(r"https?://|url\(|@import|@font-face", page)
    assert "default-src 'none'" in page


def test_charts_have_labels_and_tables_scopes() -> None:
    parsed = Page(render(make_report()))
    drawings = [attributes for tag, attributes in parsed.tags if tag == "svg" and attributes.get("role") == "img"]
    assert len(drawings) == 6
    assert all(attributes["aria-label"] for attributes in drawings)
    assert all(attributes.get("scope") for tag, attributes in parsed.tags if tag == "th")


def test_the_demonstration_is_an_equation_that_training_mended() -> None:
    # coin-1 comes before equation-1 and training mended it as well.
    data = make_report(before=make_evaluation(("----", "----", "----", "----")))
    assert choose_problem(data) == "equation-1"


def test_without_equations_it_is_the_first_problem_that_training_mended() -> None:
    def without(evaluation: Evaluation) -> Evaluation:
        scores = [
            make_score(f"p{i}", task="coins", correct=correct)
            for i, correct in enumerate(s.verdict == "correct" for s in evaluation.scores[:8])
        ]
        return Evaluation(scores, summarize(scores, ks=[1]))

    # Of BEFORE the first sample alone is right; of AFTER the first six are.
    data = make_report(before=without(make_evaluation(BEFORE)), after=without(make_evaluation(AFTER)))
    assert choose_problem(data) == "p1"


def test_problems_of_one_length_in_two_splits_count_together() -> None:
    scores = [
        *make_scores("short", "++", num_steps=4),
        *make_scores("test", "++", num_steps=6),
        *make_scores("longer-1", "--", split="longer", num_steps=6),
        *make_scores("longer-2", "+-", split="longer", num_steps=6),
    ]
    lengths = by_length(make_report(before=None, teacher=None, after=Evaluation(scores, summarize(scores, ks=[1]))))
    assert lengths is not None
    assert [(steps, one and one["mean"]) for steps, (one,) in lengths.rows] == [(4, 1.0), (6, 0.5)]


def test_what_is_missing_is_said_plainly() -> None:
    text = Page(render(ReportData("demo", "unknown", "2025-11-21"))).text
    for sentence in (
        "The trained student was not evaluated on the test split, so this run has no result yet.",
        "No model version was registered in this run.",
        "The student before training was not evaluated in this run.",
        "The student after training was not evaluated in this run.",
        "The teacher was not evaluated in this run.",
        "No test problem was answered by any model of this run.",
        "Curation did not run, so nothing was kept for training.",
        "There is no training history",
        "there are no samples to show",
        "No stage has finished.",
    ):
        assert sentence in text


def test_an_empty_harvest_is_said_plainly() -> None:
    funnel = {"generated": 100, "correct": 0, "kept": 0, "dropped": {"wrong": 100}}
    text = Page(render(make_report(funnel=funnel, after=None, history=[]))).text
    assert "No sample was kept, so there was nothing to train on." in text
    assert "kept: 0, 0.0%" in text


@pytest.mark.parametrize("missing", ["before", "after", "teacher"])
def test_any_one_model_may_be_missing(missing: str) -> None:
    text = Page(render(make_report(**{missing: None}))).text
    assert "was not evaluated in this run." in text


def test_a_history_with_a_broken_loss_is_drawn_without_it() -> None:
    page = render(
        make_report(history=[{"step": 1, "loss": 2.0}, {"step": 2, "loss": float("nan")}, {"step": 3, "loss": 1.0}])
    )
    assert "training loss went from 2.000 to 1.000" in page
    assert "nan" not in page


def test_edge_artifacts_have_a_row_each_with_what_refused_them() -> None:
    parity = {
        "kl": 0.0002, "top_1_agreement": 0.97, "greedy_agreement": 0.9,
        "accuracy": {"mean": 0.5, "standard_error": 0.08}, "reference_accuracy": {"mean": 0.55, "standard_error": 0.08},
    }  # fmt: skip
    kept = {
        "format": "gguf", "quantization": "Q8_0", "folder": "student-gguf-Q8_0", "failed": [], "size_bytes": 910_000,
        "parity": parity, "speed": {"decode_tokens_per_second": 812.4},
    }  # fmt: skip
    refused = kept | {"format": "onnx", "folder": None, "failed": ["kl", "top_1"], "parity": None, "speed": None}
    page = render(make_report(artifacts=[kept, refused]))
    section = page[page.index('id="artifacts"') : page.index('id="settings"')]
    for shown in ("gguf Q8_0", "0.91", "2.0e-04", "97.0%", "50.0% ± 8.0", "812", "55.0% ± 8.0", "refused: kl, top_1"):
        assert shown in section
    assert 'id="artifacts"' not in render(make_report())


def test_bonds_of_the_models_and_the_molecules_of_the_shown_problem() -> None:
    data = make_report(
        compared=make_comparison(), by_verdict={"correct": {"traces": 1200, "mean_stability": 0.91, "unstable": 12}}
    )
    shown = choose_samples(data)
    molecules = {s.sample_id: analyze(s.completion, markers=False, sample_id=s.sample_id) for s in shown.values()}
    page = Page(render(dataclasses.replace(data, molecules=molecules)))
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert sections[:3] == ["results", "demonstration", "bonds"]
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 3
    assert all(str(image["src"]).startswith("data:image/svg+xml;base64,") for image in images)
    assert any("3 steps" in str(image["alt"]) or "5 steps" in str(image["alt"]) for image in images)
    text = " ".join(page.text.split())
    assert "Distance to the teacher" in text
    assert "1.0%" in text, "12 of 1,200 unstable"


def test_a_run_without_bonds_has_no_such_section() -> None:
    assert 'id="bonds"' not in render(make_report())
