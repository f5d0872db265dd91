"""What becomes of a Job that the API server would not have."""

from __future__ import annotations

from typing import Any

import pytest
from headway_api.vocabulary import Phase, Reason
from headway_operator.api import UnavailableError
from headway_operator.applying import Applier
from headway_operator.cache import Cache
from headway_operator.policies.chain import plan
from snapshots import NOW, at, attempted, observed, raw_operation


class Server:
    """An API server that takes every status and no Job."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def patch_status(self, _kind, _namespace, _name, patch) -> dict[str, Any]:
        return raw_operation(status=patch["status"])

    async def create(self, *_args: Any) -> None:
        raise self.error


class Accounts:
    """The trainers' account is there."""

    async def ensure(self, _namespace: str) -> None:
        pass


async def applied(error: Exception):
    snapshot = observed(raw_operation())
    parts: Any = (Server(error), Cache(lambda: NOW), Accounts(), None, lambda: NOW, "trainer:1")
    return await Applier(*parts).apply(snapshot, plan(snapshot, NOW))


async def test_an_admission_webhook_that_does_not_answer_is_told_and_asked_again():
    said = 'Internal error occurred: failed calling webhook "mjob.kb.io": connection refused'
    done = await applied(UnavailableError(said, 500, "InternalError"))
    snapshot = observed(raw_operation(status=attempted()), refusal=done.refusal)
    told = plan(snapshot, NOW)
    assert (told.status.phase, told.status.reason) == (Phase.STARTING, Reason.FORBIDDEN)
    assert said in told.status.message
    assert plan(snapshot, at(10)).actions


@pytest.mark.parametrize("code", [0, 429, 500, 503])
async def test_an_api_server_that_does_not_answer_decides_nothing(code):
    with pytest.raises(UnavailableError):
        await applied(UnavailableError("away", code))
