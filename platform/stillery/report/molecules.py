"""How the models' reasoning is bonded: the mix of bonds, its distance to the teacher's, one problem's molecules."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from stillery.bonds.draw.drawing import to_svg
from stillery.records import BondKind
from stillery.report.charts import Bar, grouped_bars
from stillery.report.data import ReportData
from stillery.report.markup import NONE, count, escape, figure, paragraph, percent, section, table
from stillery.report.traces import choose_samples

_KIND_NAMES = {
    BondKind.STRONG_LOGIC: "Strong logic",
    BondKind.REFLECTION: "Reflection",
    BondKind.EXPLORATION: "Exploration",
}
_ROLES = {
    "teacher": ("teacher", "Teacher"),
    "student_before": ("before", "Student before"),
    "student_sft": ("tuned", "Student fine-tuned"),
    "student_after": ("after", "Student after"),
}


def bonds(data: ReportData) -> str:
    """The bonds of teacher and student on the test problems; nothing where the run does not look at bonds."""
    if data.compared is None and data.by_verdict is None:
        return ""
    parts: list[str] = []
    if data.compared is not None:
        parts += [_mix_table(data.compared), _mix_chart(data.compared), _distances(data.compared)]
        parts.append(_drawings(data))
    if data.by_verdict:
        parts.append(_stability_table(data.by_verdict))
    return section("The bonds between reasoning steps", *filter(None, parts), identifier="bonds")


def _mix_table(compared: Mapping[str, Any]) -> str:
    rows = [
        [
            _ROLES[role][1],
            *(_share(found["shares"].get(kind)) for kind in _KIND_NAMES),
            f"{found['bonds'] / found['atoms']:.2f}" if found["atoms"] else NONE,
            NONE if found["mean_stability"] is None else f"{found['mean_stability']:.3f}",
            count(found["molecules"]),
        ]
        for role in _ROLES
        if (found := compared["models"].get(role)) is not None
    ]
    head = ["Model", *_KIND_NAMES.values(), "bonds a step", "mean stability", "traces"]
    note = paragraph(
        "Shares of the kinds among all bonds of the traces on the test problems, with 95% intervals (bootstrap over "
        "problems). Stability and bonds are found without regard to words such as “wait”.",
        style="note",
    )
    failed = compared["failed"]
    missing = f"{count(failed)} traces could not be analysed; compare_bonds' manifest names them." if failed else ""
    return table(head, [("", rows)], label="Bonds of the models") + note + (paragraph(missing) if missing else "")


def _share(interval: Sequence[float] | None) -> str:
    if interval is None:
        return NONE
    value, low, high = (100 * part for part in interval)
    return f"{value:.1f}% ({low:.1f} to {high:.1f})"


def _mix_chart(compared: Mapping[str, Any]) -> str:
    shown = [(role, found["shares"]) for role in _ROLES if (found := compared["models"].get(role)) and found["shares"]]
    if not shown:
        return ""
    groups = [
        (name, [Bar(*_ROLES[role], shares[kind][0], None) for role, shares in shown])
        for kind, name in _KIND_NAMES.items()
    ]
    chart = grouped_bars(groups, label="Bar chart: share of each kind of bond by model; the table has the numbers")
    return figure("The mix of bonds", body=chart, legend=[_ROLES[role] for role, _ in shown])


def _distances(compared: Mapping[str, Any]) -> str:
    rows = [
        [_ROLES[role][1], *(cell for part in ("marginal", "transitions") for cell in _distance(found[part]))]
        for role, found in compared["divergence"].items()
    ]
    if not rows:
        return paragraph("No student has bonds on a problem of the teacher's, so no distance is known.")
    head = ["Distance to the teacher", "of the mix", "by chance", "p", "of what follows what", "by chance", "p"]
    note = (
        "Jensen-Shannon divergence in bits, 0 to 1. By chance: the mean over the same traces with the models' names "
        "shuffled within each problem; p: the share of shuffles at least as far apart."
    )
    return table(head, [("", rows)], label="Distance to the teacher") + paragraph(note, style="note")


def _distance(found: Mapping[str, float]) -> list[str]:
    return [f"{found['value']:.4f}", f"{found['null_mean']:.4f}", f"{found['p_value']:.3f}"]


def _drawings(data: ReportData) -> str:
    """The molecules of the demonstrated problem's traces, each an image that the page's style doesn't reach."""
    cards: list[str] = []
    samples = choose_samples(data)
    for style, name, _ in data.models:
        molecule = data.molecules.get(samples[style].sample_id) if style in samples else None
        if molecule is None or not molecule.atoms:
            continue
        drawn = base64.b64encode(to_svg(molecule, title=name).encode()).decode()
        alternative = (
            f"Molecule of {name}'s trace: {len(molecule.atoms)} steps, {len(molecule.bonds)} bonds, "
            f"stability {molecule.stability:.3f}, conflict {molecule.conflict:g}"
        )
        cards.append(
            f'<figure class="molecule"><img src="data:image/svg+xml;base64,{drawn}" alt="{escape(alternative)}">'
            f"<figcaption><small>{escape(alternative)}</small></figcaption></figure>"
        )
    if not cards:
        return ""
    question = next(iter(samples.values())).question
    intro = f'<h3>The molecules of the problem shown above</h3><p class="question">{escape(question)}</p>'
    return intro + "".join(cards)


def _stability_table(by_verdict: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        [
            verdict,
            count(found["traces"]),
            f"{found['mean_stability']:.3f}",
            percent(found["unstable"] / found["traces"]),
        ]
        for verdict, found in sorted(by_verdict.items(), key=lambda item: -item[1]["traces"])
    ]
    label = "Stability of the teacher's samples by verdict"
    return f"<h3>{label}</h3>" + table(["Verdict", "traces", "mean stability", "unstable"], [("", rows)], label=label)
