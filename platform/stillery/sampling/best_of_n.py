"""When a prompt is sampled again and when it is done: best-of-n with a stopping rule. Pure."""


class BestOfN:
    """The samples of one prompt: `num_samples` of them, or fewer if `target_accepted` are accepted before.

    The rule goes by sample index, not by time: a prompt is done at its `target_accepted`-th acceptance in order of
    index (in order of completion, short samples would be favoured). No more samples run than acceptances are missing,
    and `lookahead` more: with 0, nothing is made that does not count, and which samples are made depends on what they
    hold alone, not on when they finish. A larger `lookahead` shortens the wait for the last prompts and costs surplus.

    Samples of one key are copies of each other, of which the first by index is accepted.
    """

    def __init__(self, *, num_samples: int, target_accepted: int | None = None, lookahead: int = 0) -> None:
        self.num_samples = num_samples
        self.target_accepted = num_samples if target_accepted is None else target_accepted
        # Without a stopping rule every sample is wanted, and none decides about another.
        self._is_fixed = target_accepted is None
        self._lookahead = lookahead
        self._next = 0
        self._keys: dict[int, str | None] = {}
        self._accepted: set[str] = set()

    @property
    def num_running(self) -> int:
        return self._next - len(self._keys)

    @property
    def num_accepted(self) -> int:
        return len(self._accepted)

    @property
    def is_done(self) -> bool:
        """Whether nothing runs and nothing more will be launched."""
        return self.num_running == 0 and (self._next == self.num_samples or self._missing <= 0)

    @property
    def num_needed(self) -> int:
        """The samples that count, from index 0: up to the `target_accepted`-th acceptance. What was launched beyond is
        surplus.

        Of a prompt that is done.
        """
        if self._is_fixed:
            return self.num_samples
        accepted: set[str] = set()
        for index in range(self._next):
            key = self._keys[index]
            if key is not None:
                accepted.add(key)
            if len(accepted) == self.target_accepted:
                return index + 1
        return self._next

    def launch(self) -> list[int]:
        """The indices to start now."""
        room = self.num_samples if self._is_fixed else self._missing + self._lookahead - self.num_running
        end = self._next if self._missing <= 0 else min(self.num_samples, self._next + max(0, room))
        started = list(range(self._next, end))
        self._next = end
        return started

    def finish(self, index: int, *, key: str | None) -> None:
        """A launched sample has been made and judged. `key` is what it counts as, None if it is not accepted."""
        assert index < self._next, f"sample {index} was never launched"
        assert index not in self._keys, f"sample {index} is finished already"
        self._keys[index] = key
        if key is not None:
            self._accepted.add(key)

    @property
    def _missing(self) -> int:
        return self.num_samples if self._is_fixed else self.target_accepted - self.num_accepted
