"""Attention transfer: the student's step-to-step attention drawn towards the teacher's, or towards the bonds.

`drafts` finds what a trace's claims rest on, `heads` the teacher's heads that tell it, `targets` writes either as what
the student is to attend to, `alignment` finds it in a model's tokens, `readout` reads a model's attention there, and
`transfer` is the loss.
"""
