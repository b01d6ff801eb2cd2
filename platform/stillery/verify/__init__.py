"""Answer checking: `grade` a completion, `same_answer` for two answers, `GradingPool` for many completions."""

from stillery.verify.grading import grade, same_answer
from stillery.verify.judge import Job
from stillery.verify.pool import GradingPool

__all__ = ["GradingPool", "Job", "grade", "same_answer"]
