"""A process of its own for model-written code, isolated by the kernel's mechanisms. Standard library only: it runs in
an interpreter without stillery's other imports."""
