"""The pages: one module a kind, a handler each that reads what is asked for and renders a template."""
