"""What a run will need and cost before it starts: memory, tokens, time and price, by stage."""
