"""The one place that runs models for text: every stage that samples (teacher, evaluation) goes through here.

Requests come in as a table, finished samples go to a durable log, and what is in the log is never made again.
"""
