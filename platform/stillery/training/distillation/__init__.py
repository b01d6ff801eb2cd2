"""Offline distillation: the student drawn to what the teacher held to be likely at each token of the samples it wrote.

`vocabularies` says whether the two speak of the same tokens, `columns` finds stored log-probabilities in a sample's
tokens, and `loss` mixes them into the loss.
"""
