"""Attention transfer: training the student's step-to-step attention towards the teacher's, or towards the bonds.

`drafts` finds the sources that a trace's claims rest on, `heads` the teacher's heads that predict them, `targets` turns
either into attention targets for the student, `alignment` locates them in a model's tokens, `readout` reads a model's
attention there, and `transfer` is the loss.
"""
