"""Sources of samples: vLLM, an OpenAI-compatible server, recorded files."""
