"""The plan of a run before it starts: memory, tokens, time and price, by stage."""
