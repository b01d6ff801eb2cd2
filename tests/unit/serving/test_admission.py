"""Requests that run, wait or are refused in a replica."""

import asyncio

import pytest

from stillery.serving.admission import Admission, QueueFullError


async def hold(admission: Admission, order: list[int], number: int, until: asyncio.Event) -> None:
    async with admission.admit():
        order.append(number)
        await until.wait()


def test_so_many_work_the_next_wait_in_turn_and_the_rest_are_refused() -> None:
    async def trial() -> tuple[list[int], list[int]]:
        admission, order, until = Admission(max_ongoing=2, max_queued=2), list[int](), asyncio.Event()
        tasks = [asyncio.create_task(hold(admission, order, number, until)) for number in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await hold(admission, order, 4, until)
        before = list(order)
        until.set()
        await asyncio.gather(*tasks)
        await hold(admission, order, 5, until)
        return before, order

    assert asyncio.run(trial()) == ([0, 1], [0, 1, 2, 3, 5])


def test_who_leaves_while_waiting_leaves_no_gap() -> None:
    async def trial() -> list[int]:
        admission, order, until = Admission(max_ongoing=1, max_queued=1), list[int](), asyncio.Event()
        first, second = (asyncio.create_task(hold(admission, order, number, until)) for number in range(2))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait({second})
        third = asyncio.create_task(hold(admission, order, 2, until))
        await asyncio.sleep(0)
        until.set()
        await asyncio.gather(first, third)
        return order

    assert asyncio.run(trial()) == [0, 2]
