"""`stillery explain SAMPLE_ID`: why a sample was kept or left out, and what became of it."""

from stillery.errors import UserError
from stillery.io.run_folder import find_run, home
from stillery.io.storage import Folder
from stillery.pipeline.trail import Stop, follow

_SHOWN_CHARACTERS = 300


def explain(sample_id: str, *, run: str | None) -> str:
    """The path of a teacher's sample through a run, or through every run on this machine. `sample_id` may be a prefix.

    Raises UserError if no run holds such a sample.
    """
    runs = [find_run(run)] if run is not None else _all_runs()
    told = [_lines(folder, *found) for folder in runs if (found := follow(folder, sample_id)) is not None]
    if not told:
        where = run if run is not None else str(home() / "runs")
        raise UserError(f"no sample {sample_id} in {where}; sample ids stand in the tables of the stage generate")
    return "\n\n".join(told)


def _all_runs() -> list[Folder]:
    return [Folder(str(path.parent)) for path in sorted((home() / "runs").glob("*/run.yaml"))]


def _lines(run: Folder, sample_id: str, stops: list[Stop]) -> str:
    return "\n".join([f"{sample_id} in {run.uri}", *(_line(stop) for stop in stops)])


def _line(stop: Stop) -> str:
    if stop.name in ("trained", "registered"):
        return f"{stop.name:<11}{stop.text or stop.output}"
    evidence = "".join(f"\n           {shown[:_SHOWN_CHARACTERS]}" for shown in stop.evidence)
    return f"{stop.name:<11}{stop.text} ({stop.output}){evidence}"
