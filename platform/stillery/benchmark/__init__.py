"""Usual benchmarks of any model, by the evaluation of runs: problems, measuring, receipts, what was forgotten."""
