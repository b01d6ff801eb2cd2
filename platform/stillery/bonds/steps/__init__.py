"""Where a trace falls into steps."""
