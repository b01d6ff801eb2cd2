"""Edge artifacts of a checkpoint: written, measured against it in their own runtime, and kept only if they agree.

`formats` says what a format can do, `gate` decides, `command` is `stillery export`.
"""
