"""Chat format of a model: its template, its rendering of conversations, and the token that ends a turn.

Training, evaluation, serving and export all read the same format, which a checkpoint carries in its own files.
"""
