"""A language model that judges answers which no rule can check."""
