"""Text generation: every stage that samples (teacher, evaluation) goes through this package.

Requests come in as a table, finished samples go to a durable log, and a sample in the log is never made again.
"""
