"""Whether an artifact answers like its checkpoint: metrics of both, and the gate on them."""
