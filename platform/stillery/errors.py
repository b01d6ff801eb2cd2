"""The error that a user can fix.

Its text names the file, row or key at fault, what was expected, and what to do. The command line prints it without a
traceback and exits with code 2. A bug of ours is an AssertionError or whatever Python raises, and keeps its traceback.
"""


class UserError(Exception):
    """An error that the user can fix: a wrong config, a missing file, an unreachable cluster.

    Its text is the original message, even if `args` is extended on the way: Ray Data adds advice of its own.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self._text = super().__str__()

    def __str__(self) -> str:
        return self._text
