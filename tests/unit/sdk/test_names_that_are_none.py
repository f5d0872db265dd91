"""The path of an empty name is that of all operations: nothing is asked there."""

from __future__ import annotations

from typing import Any

import pytest
from headway.client import OperationsClient
from headway.client_errors import NotFound


class Api:
    """Notes what it is asked."""

    namespace = "default"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def request(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        self.asked.append(f"{method} {path}")
        return {}


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_cannot_be_a_name_never_stands_for_everything(name):
    api: Any = Api()
    client = OperationsClient(api)
    for call in (client.get, client.cancel, client.suspend, client.delete):
        with pytest.raises(NotFound):
            call(name)
    client.namespace = name
    with pytest.raises(NotFound):
        client.delete("a")
    assert api.asked == []
