"""The queue: many reasons to look at an operation become one look, one look at a time."""

from __future__ import annotations

import asyncio

import pytest
from headway_operator.workqueue import LONGEST_BACKOFF, WorkQueue


@pytest.fixture
def queue():
    return WorkQueue()


async def soon(queue: WorkQueue) -> str:
    async with asyncio.timeout(5):
        return await queue.take()


def nothing_ready(queue: WorkQueue) -> bool:
    return len(queue) == 0


async def test_many_reasons_become_one_look(queue):
    for _ in range(5):
        queue.add("a")
    assert await soon(queue) == "a"
    assert nothing_ready(queue)


async def test_keys_come_in_the_order_in_which_they_were_added(queue):
    for key in "abc":
        queue.add(key)
    assert [await soon(queue) for _ in "abc"] == ["a", "b", "c"]


async def test_a_key_is_never_worked_on_twice_at_once(queue):
    queue.add("a")
    assert await soon(queue) == "a"
    queue.add("a")
    queue.add("b")
    assert await soon(queue) == "b"
    queue.done("a")
    assert await soon(queue) == "a"


async def test_what_is_added_during_a_look_leads_to_exactly_one_more(queue):
    queue.add("a")
    await soon(queue)
    queue.add("a")
    queue.add("a")
    queue.done("a")
    await soon(queue)
    queue.done("a")
    assert nothing_ready(queue)


async def test_a_key_for_later_comes_when_it_is_due(queue):
    queue.add_later("a", 0.01)
    assert nothing_ready(queue)
    assert await soon(queue) == "a"


async def test_of_two_moments_the_earlier_one_counts_once(queue):
    queue.add_later("a", 3600)
    queue.add_later("a", 0.01)
    queue.add_later("a", 1800)
    assert await soon(queue) == "a"
    queue.done("a")
    assert queue.scheduled == 0


async def test_a_look_takes_the_place_of_what_was_planned_for_later(queue):
    queue.add_later("a", 3600)
    queue.add("a")
    await soon(queue)
    assert queue.scheduled == 0


async def test_a_waiting_worker_is_woken_by_an_earlier_key(queue):
    queue.add_later("a", 3600)
    waiting = asyncio.create_task(soon(queue))
    await asyncio.sleep(0)
    queue.add("b")
    assert await waiting == "b"


async def test_failures_wait_longer_each_time_up_to_a_limit_and_are_forgotten(queue):
    delays = [queue.failed("a") for _ in range(12)]
    assert delays[0] <= 0.1
    assert delays[3] > delays[0]
    assert LONGEST_BACKOFF / 2 <= delays[-1] <= LONGEST_BACKOFF
    queue.succeeded("a")
    assert queue.failed("a") <= 0.1
