"""When a prompt is sampled again and when it is done: best-of-n with a stopping rule. Pure."""

from stillery.metrics.stopping import StoppingRule, futile_up_to


class BestOfN:
    """The samples of one prompt: `num_samples` of them, or fewer if `target_accepted` are accepted before, or if the
    probability of that falls below `futility` (see StoppingRule).

    The rule follows the sample index, not time: a prompt is done at its `target_accepted`-th acceptance in order of
    index (in order of completion, short samples would be favoured). At most as many samples run as acceptances are
    missing, or as remain before the prompt may be given up, plus `lookahead`: with 0, every sample counts, and which
    samples are made depends only on their content, not on when they finish. A larger `lookahead` shortens the wait for
    the last prompts at the cost of surplus samples.

    Samples with the same key are copies of each other; only the first by index is accepted.
    """

    def __init__(
        self, *, num_samples: int, target_accepted: int | None = None, lookahead: int = 0, futility: float = 0.0
    ) -> None:
        self.num_samples = num_samples
        # Without a stopping rule every sample is made, independently of the others.
        self._rule = None if target_accepted is None else StoppingRule(num_samples, target_accepted, futility)
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
        return self.num_running == 0 and self._next == self._end

    @property
    def num_needed(self) -> int:
        """The samples that count, from index 0: up to where the rule stops. What was launched beyond is surplus.

        Valid only for a finished prompt.
        """
        if self._rule is None:
            return self.num_samples
        accepted: set[str] = set()
        for index in range(self._next):
            key = self._keys[index]
            if key is not None:
                accepted.add(key)
            if self._rule.stops(index + 1, len(accepted)):
                return index + 1
        return self._next

    def launch(self) -> list[int]:
        """The indices to start now."""
        started = list(range(self._next, self._end))
        self._next += len(started)
        return started

    def finish(self, index: int, *, key: str | None) -> None:
        """Record that a launched sample has been made and judged. `key` is the key that it counts under, None if it is
        not accepted."""
        assert index < self._next, f"sample {index} was never launched"
        assert index not in self._keys, f"sample {index} is finished already"
        self._keys[index] = key
        if key is not None:
            self._accepted.add(key)

    @property
    def _end(self) -> int:
        """The upper bound (exclusive) of the indices that may start now."""
        if self._rule is None:
            return self.num_samples
        missing, exit_ = self._rule.target - self.num_accepted, self._first_exit
        is_given_up = exit_ < self.num_samples and all(index in self._keys for index in range(exit_))
        if missing <= 0 or is_given_up:
            return self._next
        room = missing + self._lookahead - self.num_running
        return max(self._next, min(self.num_samples, exit_ + self._lookahead, self._next + room))

    @property
    def _first_exit(self) -> int:
        """The smallest number of samples after which the prompt may be given up, whatever the results of those still
        running."""
        assert self._rule is not None
        accepted: set[str] = set()
        for made, bound in enumerate(futile_up_to(self._rule)):
            key = self._keys.get(made - 1)
            if key is not None:
                accepted.add(key)
            if len(accepted) <= bound:
                return made
        return self.num_samples
