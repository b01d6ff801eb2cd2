"""`stillery patterns`: the bond patterns of a corpus of traces, or the distance between two corpora."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillery.bonds.corpus.effective import Match, Pattern, PatternLibrary, extract_patterns, match_patterns
from stillery.bonds.corpus.isomers import IsomerReport, find_isomers
from stillery.bonds.corpus.patterns import (
    KINDS,
    BondStatistics,
    Comparison,
    Divergence,
    bond_divergence,
    bond_statistics,
)
from stillery.cli.bonds import TraceInput, molecule_of, read_traces
from stillery.errors import UserError
from stillery.records import Molecule, digest

_SHOWN_PATTERNS = 8
_SHOWN_TRIGGERS = 4
_SHOWN_PAIRS = 5


@dataclass(frozen=True, slots=True)
class Corpus:
    """The molecules of a file; ids are unique across files. `problems` and `questions` map them to the problems that
    they solve, where the file names those."""

    name: str
    molecules: list[Molecule]
    problems: dict[str, str]
    questions: dict[str, str]

    @property
    def knows_problems(self) -> bool:
        return len(self.problems) == len(self.molecules)


def describe_patterns(file: str, other: str | None, *, problem: str | None, as_json: bool) -> None:
    """Print the patterns of a corpus, and of a second one and their divergence.

    Raises UserError for files that cannot be read, hold no bond, or lack their questions where `problem` needs them.
    """
    corpora = [read_corpus(name) for name in (file, other) if name is not None]
    divergence = _diverge(*corpora) if len(corpora) == 2 else None
    pooled = Corpus(
        " and ".join(corpus.name for corpus in corpora),
        [molecule for corpus in corpora for molecule in corpus.molecules],
        {key: value for corpus in corpora for key, value in corpus.problems.items()},
        {key: value for corpus in corpora for key, value in corpus.questions.items()},
    )
    statistics = [_statistics(corpus) for corpus in corpora]
    library = extract_patterns(pooled.molecules, questions=pooled.questions, min_traces=min(2, len(pooled.molecules)))
    matches = None if problem is None else _match(library, problem, pooled)
    isomers = find_isomers(pooled.molecules, problems=pooled.problems) if pooled.knows_problems else None
    if as_json:
        report = {
            "corpora": {c.name: dataclasses.asdict(s) for c, s in zip(corpora, statistics, strict=True)},
            "divergence": divergence and dataclasses.asdict(divergence),
            "patterns": [dataclasses.asdict(pattern) for pattern in library.patterns],
            "matches": matches and [dataclasses.asdict(match) for match in matches],
            "isomers": isomers and dataclasses.asdict(isomers),
        }
        print(json.dumps(report, ensure_ascii=False))
        return
    sections = [_show_statistics(c, s) for c, s in zip(corpora, statistics, strict=True)]
    sections += [_show_divergence(divergence)] if divergence is not None else []
    sections += [_show_patterns(library)]
    sections += [_show_matches(matches)] if matches is not None else []
    sections += [_show_isomers(isomers)]
    print("\n\n".join("\n".join(lines) for lines in sections))


def read_corpus(file: str) -> Corpus:
    """The molecules of a file of traces, found without markers, as in the pipeline."""
    traces = read_traces(file)
    ids = _unique_ids(file, traces)
    molecules = [
        dataclasses.replace(molecule_of(trace, markers=False), sample_id=sample_id)
        for sample_id, trace in zip(ids, traces, strict=True)
    ]
    if not any(molecule.bonds for molecule in molecules):
        raise UserError(f"{file}: no trace has a bond ({len(traces)} read), so there are no patterns to show")
    return Corpus(
        Path(file).name if file != "-" else "standard input",
        molecules,
        {i: p for i, trace in zip(ids, traces, strict=True) if (p := _problem_of(trace)) is not None},
        {i: trace.question for i, trace in zip(ids, traces, strict=True) if trace.question},
    )


def _unique_ids(file: str, traces: Sequence[TraceInput]) -> list[str]:
    """Ids that include the file, and the line where the file uses a name twice."""
    names = [trace.name for trace in traces]
    return [
        f"{file}:{name}" if names.count(name) == 1 else f"{file}:{name} (line {number})"
        for number, name in enumerate(names, start=1)
    ]


def _problem_of(trace: TraceInput) -> str | None:
    """The problem's id; traces without one share a problem if they share the question."""
    named = trace.row.get("prompt_id")
    if named is not None:
        return str(named)
    return None if not trace.question else digest("question", trace.question)


def _statistics(corpus: Corpus) -> BondStatistics:
    return bond_statistics(corpus.molecules, problems=corpus.problems if corpus.knows_problems else None)


def _diverge(left: Corpus, right: Corpus) -> Divergence:
    """The divergence within problems if both corpora have traces of the same ones; else overall."""
    shared = set(left.problems.values()) & set(right.problems.values())
    is_paired = bool(shared) and left.knows_problems and right.knows_problems
    return bond_divergence(
        left.molecules, right.molecules, problems={**left.problems, **right.problems} if is_paired else None
    )


def _match(library: PatternLibrary, problem: str, corpus: Corpus) -> list[Match]:
    if not corpus.questions:
        raise UserError(f'--problem: no trace of {corpus.name} has its question; add "question" to each line')
    if not library.patterns:
        raise UserError(f"--problem: no bond recurs in two traces of {corpus.name}, so there is no pattern to match")
    return match_patterns(library, problem)


def _show_statistics(corpus: Corpus, found: BondStatistics) -> Iterator[str]:
    unit = "problems" if corpus.knows_problems else "traces"
    yield f"{corpus.name}: {found.num_traces} traces, {found.num_bonds:,} bonds; 95% intervals over {unit}"
    yield f"{'':<26}{'share of bonds':<22}" + "".join(f"{'then ' + _short(kind):<22}" for kind in KINDS)
    for kind in KINDS:
        row = found.transitions.get(kind, {})
        following = "".join(f"{_interval(row[other]) if other in row else '-':<22}" for other in KINDS)
        yield f"{kind:<26}{_interval(found.marginal[kind]):<22}{following}".rstrip()


def _interval(estimate: Any) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _short(kind: str) -> str:
    return kind.partition("_")[0] if not kind.startswith("strong") else "logic"


def _show_divergence(found: Divergence) -> Iterator[str]:
    yield "Divergence in bits (Jensen-Shannon, 0 to 1), beside shuffled labels and random halves of each corpus"
    yield f"{'':<26}{'value':>8}{'chance':>9}{'chance 95%':>12}{'p':>8}{'halves of A':>13}{'halves of B':>13}"
    for name, part in (("shares of the kinds", found.marginal), ("what follows what", found.transitions)):
        yield f"{name:<26}{_comparison(part)}"


def _comparison(part: Comparison) -> str:
    halves = "".join(f"{'-' if half is None else f'{half:.4f}':>13}" for half in (part.split_left, part.split_right))
    return f"{part.value:>8.4f}{part.null_mean:>9.4f}{part.null_high:>12.4f}{part.p_value:>8.4f}{halves}"


def _show_patterns(library: PatternLibrary) -> Iterator[str]:
    shown = library.patterns[:_SHOWN_PATTERNS]
    yield f"Effective patterns (strength above 0.5, in two traces or more): {len(library.patterns)}"
    for number, pattern in enumerate(shown, start=1):
        yield (
            f"{number:>3}. {_name(pattern)}: {pattern.share:.1%} of the bonds, {pattern.num_traces} traces, "
            f"strength {pattern.strength_low:.2f} to {pattern.strength_high:.2f}"
        )
        triggers = "; ".join(trigger.name for trigger in pattern.triggers[:_SHOWN_TRIGGERS])
        if triggers:
            yield f"     set off by: {triggers}"
        if pattern.examples:
            example = pattern.examples[0]
            yield f"     such as: {example.bond.evidence} ({example.sample_id})"
    if len(library.patterns) > len(shown):
        yield f"     and {len(library.patterns) - len(shown)} more (--json shows all)"


def _name(pattern: Pattern) -> str:
    reach = {"next": "to the next step", "near": "2 to 5 steps on", "far": "further on"}[pattern.conditions["reach"]]
    return f"{pattern.kind} from {pattern.conditions['source']} to {pattern.conditions['target']}, {reach}"


def _show_matches(matches: Sequence[Match]) -> Iterator[str]:
    yield "For this problem:"
    for number, match in enumerate(matches, start=1):
        yield (
            f"{number:>3}. {_name(match.pattern)}: expected share {match.expected_share:.1%}, "
            f"{match.lift:.2f} times the usual"
        )


def _show_isomers(found: IsomerReport | None) -> Iterator[str]:
    if found is None:
        yield "Isomers: not looked for; give every line its prompt_id or question"
        return
    yield (
        f"Isomers: {found.num_isomers} of {found.num_same_formula} pairs with one formula "
        f"({found.num_pairs} pairs of traces of one problem, {found.num_problems} problems)"
    )
    for pair in [p for p in found.pairs if p.relation != "identical"][:_SHOWN_PAIRS]:
        yield (
            f"     {pair.left} and {pair.right}: {pair.relation.replace('_', ' ')}, {pair.num_shared} shared claims, "
            f"bonds {pair.bond_distance:.2f} apart"
        )
