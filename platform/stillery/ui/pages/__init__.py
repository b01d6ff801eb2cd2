"""The pages: one module per kind, with handlers that read the requested data and render a template."""
