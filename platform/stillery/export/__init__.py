"""Edge artifacts of a checkpoint: written, measured against it in their own runtime, and kept only if they agree.

`formats` defines the formats, `gate` decides, `command` is `stillery export`.
"""
