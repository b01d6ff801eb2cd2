"""The result of a path, and how it reports missing evidence."""

# Name of a figure -> its value: what shows that a path works.
Figures = dict[str, float | int | str]


class NotShownError(Exception):
    """A path ran, and what it measured does not show what it is there to show."""


def demand(condition: bool, reason: str) -> None:
    """Raise NotShownError with the reason unless the condition holds."""
    if not condition:
        raise NotShownError(reason)


def fall_of(losses: list[float]) -> float:
    """By what share the loss fell: the mean of the last quarter of the steps against that of the first quarter.

    Raises NotShownError for fewer than eight steps, where a quarter is no mean.
    """
    demand(len(losses) >= 8, f"only {len(losses)} losses were logged")
    quarter = len(losses) // 4
    first, last = sum(losses[:quarter]), sum(losses[-quarter:])
    return 1 - last / first
