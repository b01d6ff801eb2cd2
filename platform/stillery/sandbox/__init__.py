"""A process of its own for code that a model wrote, with what the kernel gives to keep it there. Standard library only:
it runs in an interpreter without stillery's other imports."""
