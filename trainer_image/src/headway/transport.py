"""Requests to the API server with the pod's own credential, never from a user's thread."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from headway_api.version import __version__

_CONNECT_TIMEOUT = 3.0
_READ_TIMEOUT = 10.0


class UnreachableError(Exception):
    """The API server did not answer: refused, reset, timed out, or not speaking TLS."""


@dataclass(frozen=True)
class Answer:
    """What the API server answered.

    Attributes:
        status: the HTTP status code.
        body: the JSON object in the body, empty where there is none.
        retry_after: seconds that the server asks to wait, None where it does not.
    """

    status: int
    body: dict[str, Any]
    retry_after: float | None = None

    @property
    def message(self) -> str:
        """The server's own words about a failure."""
        return str(self.body.get("message", ""))


class Transport:
    """One API server, one credential. Thread-safe, as urllib3's pool is.

    The token is read from its file for every request: Kubernetes rotates it.
    """

    def __init__(self, server: str, service_account: Path, timeout: float = _READ_TIMEOUT) -> None:
        """Take the server and the folder with the token and its authority.

        Args:
            server: base URL.
            service_account: folder with ``token`` and ``ca.crt``.
            timeout: seconds to wait for an answer.
        """
        self._server = server
        self._timeout = timeout
        self._token = service_account / "token"
        self._pool = urllib3.PoolManager(
            ca_certs=str(service_account / "ca.crt"), maxsize=2, retries=False
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        content_type: str = "application/json",
        timeout: float | None = None,
    ) -> Answer:
        """Send one request and read the whole answer.

        Raises:
            UnreachableError: no answer came.
        """
        headers = self._headers()
        patience = self._timeout if timeout is None else timeout
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body, allow_nan=False).encode()
        try:
            reply = self._pool.request(
                method,
                self._server + path,
                body=data,
                headers=headers,
                timeout=urllib3.Timeout(connect=min(_CONNECT_TIMEOUT, patience), read=patience),
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(str(error)) from error
        return Answer(reply.status, _json_object(reply.data), _seconds(reply.headers))

    def stream(self, path: str, *, silence: float) -> Iterator[dict[str, Any]]:
        """The JSON documents of a watch, one a line, until the server ends it.

        Args:
            path: path with the query of the watch.
            silence: seconds without a byte after which the connection counts as dead.

        Raises:
            UnreachableError: it broke, stayed silent, or was refused.
        """
        try:
            reply = self._pool.request(
                "GET",
                self._server + path,
                headers=self._headers(),
                timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=silence),
                preload_content=False,
            )
            try:
                if reply.status != 200:
                    raise UnreachableError(f"the watch was refused with {reply.status}")
                yield from _lines(reply)
            finally:
                reply.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(str(error)) from error

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": f"headway-trainer/{__version__}"}
        try:
            headers["Authorization"] = f"Bearer {self._token.read_text().strip()}"
        except OSError as error:
            raise UnreachableError(f"cannot read the token: {error}") from error
        return headers

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


def _lines(reply: urllib3.BaseHTTPResponse) -> Iterator[dict[str, Any]]:
    rest = b""
    for chunk in reply.stream(amt=None, decode_content=True):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield _json_object(line)


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _seconds(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, ValueError):
        return None
