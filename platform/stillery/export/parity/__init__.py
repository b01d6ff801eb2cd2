"""Whether an artifact answers like its checkpoint: figures from both, and the gate over them."""
