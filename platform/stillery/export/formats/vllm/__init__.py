"""vLLM: weights in the format of compressed-tensors."""
