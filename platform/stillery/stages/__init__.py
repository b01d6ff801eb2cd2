"""The stages of the pipeline, one module or folder each, named like its command, config section and job."""
