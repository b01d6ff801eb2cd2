"""The report: one HTML page that says what a run made of its student, readable offline and by anyone."""

from stillery.report.data import Evaluation, ReportData, StageLine
from stillery.report.page import render

__all__ = ["Evaluation", "ReportData", "StageLine", "render"]
