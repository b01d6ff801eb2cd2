"""Common benchmarks of any model, with the evaluation of runs: problems, measuring, receipts, forgetting."""
