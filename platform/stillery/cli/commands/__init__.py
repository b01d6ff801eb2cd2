"""The commands by group: arguments and a call each. The actual work is in the modules beside this folder, imported on
demand."""

from stillery.cli.commands import endpoint, machine, models, pipeline, runs, traces

GROUPS = {
    "The pipeline, whole or up to a stage": pipeline.COMMANDS,
    "Runs": runs.COMMANDS,
    "Models": models.COMMANDS,
    "Traces": traces.COMMANDS,
    "The endpoint": endpoint.COMMANDS,
    "This machine": machine.COMMANDS,
}
