"""The checkable claims of steps, and how they are decided."""
