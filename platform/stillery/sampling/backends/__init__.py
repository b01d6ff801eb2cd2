"""What samples can come from: vLLM, an OpenAI-compatible server, recorded files."""
