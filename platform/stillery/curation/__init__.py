"""Curation rules: which prompts and samples may train a student, and with what weights. Pure, no Ray."""
