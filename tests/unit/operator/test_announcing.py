"""Events, as kubectl shows them."""

import asyncio

from headway_operator.announcing import Announcer
from headway_operator.policies.case import Note
from snapshots import NOW, attempted, observed, raw_operation

LIFE = [
    (attempted("Running"), "SuspendRequested"),
    (attempted("Suspending"), "Suspended"),
    (attempted("Suspended"), "Resumed"),
    (attempted("Running", attempt=2), "Signalled"),
    (attempted("Retrying", attempt=2), "Restarted"),
    (attempted("Running", attempt=10), "CancelRequested"),
    (attempted("Cancelling", attempt=10), "Cancelled"),
]


class Sent:
    def __init__(self, wanted):
        self.events = []
        self.all_of_them = asyncio.Event()
        self._wanted = wanted

    async def create(self, kind, namespace, event):
        self.events.append(event)
        if len(self.events) == self._wanted:
            self.all_of_them.set()


async def names_of(*told):
    sent = Sent(len(told))
    announcer = Announcer(sent, "one", lambda: NOW)
    for status, reason in told:
        announcer.announce(observed(raw_operation(status=status)).operation, Note(reason, "why"))
    task = asyncio.create_task(announcer.run())
    await sent.all_of_them.wait()
    task.cancel()
    return [event["metadata"]["name"] for event in sent.events]


async def test_what_happens_within_a_second_stands_in_the_order_of_a_runs_life():
    names = await names_of(*LIFE)
    assert names == sorted(names)
    assert len(set(names)) == len(LIFE)


async def test_what_is_said_twice_is_one_event():
    assert len(set(await names_of(LIFE[0], LIFE[0]))) == 1
