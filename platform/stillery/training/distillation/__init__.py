"""Offline distillation: the student is trained towards the teacher's distribution at each token of the teacher's
samples.

`vocabularies` checks that both models have the same tokens, `columns` aligns stored log-probabilities with a sample's
tokens, and `loss` adds them to the loss.
"""
