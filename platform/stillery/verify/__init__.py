"""Answer checking: `grade` a completion, `same_answer` for two answers, `GradingPool` for many completions."""

from stillery.verify.grading import grade, same_answer
from stillery.verify.judge import GradingTask
from stillery.verify.pool import GradingPool

__all__ = ["GradingPool", "GradingTask", "grade", "same_answer"]
