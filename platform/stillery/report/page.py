"""The page: ReportData in, one self-contained HTML document out.

It loads nothing: style and drawings are inline, there is no script, and a content security policy says so, so that
no text a model wrote could load or run anything even if its escaping failed.
"""

from importlib import resources

from stillery.report.artifacts import artifacts
from stillery.report.benchmarks import benchmarks
from stillery.report.data import ReportData
from stillery.report.making import training, training_data
from stillery.report.markup import NONE, details, duration, escape, paragraph, section, table, verbatim
from stillery.report.molecules import bonds
from stillery.report.refinement import refinement
from stillery.report.results import breakdown, comparison, headline
from stillery.report.traces import demonstration, samples

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def render(data: ReportData) -> str:
    """The report of a run as one HTML document, complete without network. What did not run is said to be missing."""
    style = resources.files("stillery.report").joinpath("style.css").read_text(encoding="utf-8")
    parts = (
        comparison,
        benchmarks,
        demonstration,
        bonds,
        training_data,
        breakdown,
        training,
        refinement,
        samples,
        artifacts,
        settings,
    )
    body = "\n".join(part(data) for part in parts)
    title = escape(f"{data.run_name}: distillation report")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<header>
<h1>{escape(data.run_name)}</h1>
{_origin(data)}
{headline(data)}
</header>
<main>
{body}
</main>
</body>
</html>
"""


def settings(data: ReportData) -> str:
    """What made the numbers: the stages with their fingerprints and times, and the resolved config."""
    rows = [
        [
            line.stage.replace("_", " "),
            line.fingerprint,
            NONE if line.seconds is None else duration(line.seconds),
            line.finished or NONE,
        ]
        for line in data.stages
    ]
    parts = [paragraph(f"Git revision: {data.git_revision}")]
    if rows:
        parts.append(table(["Stage", "Fingerprint", "Time", "Finished"], [("", rows)], label="Stages"))
    else:
        parts.append(paragraph("No stage has finished.", style="missing"))
    if data.config_yaml:
        parts.append(details("Resolved configuration", verbatim(data.config_yaml, label="Resolved configuration")))
    return section("Settings", *parts, identifier="settings")


def _origin(data: ReportData) -> str:
    """What the page is and where it is from; the revision by its first digits, and whether it was dirty."""
    name, dash, rest = data.git_revision.partition("-")
    revision = f"<code>{escape(name[:12] + dash + rest)}</code>"
    return f'<p class="origin">Distillation report, {escape(data.date)}, revision {revision}</p>'
