"""How a model is spoken to: its chat template, the conversation that it writes, and the token that ends a turn.

Training, evaluation, serving and export all read the same format, which a checkpoint carries in its own files.
"""
