"""The report: one HTML page on a run and its student, self-contained and for any reader."""

from stillery.report.data import Evaluation, ReportData, StageLine
from stillery.report.page import render

__all__ = ["Evaluation", "ReportData", "StageLine", "render"]
