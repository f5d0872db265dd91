"""A small asynchronous client of the API server: raw JSON in and out, typed errors.

    ApiError                 what the server said, or that it said nothing
     +- NotFoundError        404: the object, or its namespace, is gone
     +- ConflictError        409: it changed since it was read
     +- AlreadyExistsError   409 on create: somebody was faster
     +- InvalidError         400, 422: it is wrong and stays wrong
     +- ForbiddenError       403: a role, a quota or a policy says no, now
     +- UnavailableError     429, 5xx, no answer: worth another try

Reads and deletes (which carry the uid they mean) are tried again here. Creates and patches are
not: the next reconcile knows better what is still to be done.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from typing import Any

import aiohttp
from headway_api import names

TIMEOUT = aiohttp.ClientTimeout(total=15, sock_connect=5)
LIST_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=5)
LOG_TIMEOUT = aiohttp.ClientTimeout(total=5, sock_connect=3)
TRIES = 3
PAGE = 500
"""Objects to ask for in one page of a list."""

MERGE_PATCH = "application/merge-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

OPERATIONS = f"/apis/{names.GROUP}/{names.VERSION}", names.PLURAL
JOBS = "/apis/batch/v1", "jobs"
PODS = "/api/v1", "pods"
CLAIMS = "/api/v1", "persistentvolumeclaims"
CONFIG_MAPS = "/api/v1", "configmaps"
EVENTS = "/api/v1", "events"
SERVICE_ACCOUNTS = "/api/v1", "serviceaccounts"
ROLE_BINDINGS = "/apis/rbac.authorization.k8s.io/v1", "rolebindings"
NODES = "/api/v1", "nodes"
SERVICES = "/api/v1", "services"
NAMESPACES = "/api/v1", "namespaces"
KUEUE = "kueue.x-k8s.io"
"""Kueue's group of APIs."""

Kind = tuple[str, str]
Object = dict[str, Any]


class ApiError(Exception):
    """What the API server said; ``str()`` of it is its message."""

    def __init__(self, message: str, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason


class NotFoundError(ApiError):
    """The object is not there."""


class ConflictError(ApiError):
    """The object changed since it was read."""


class AlreadyExistsError(ApiError):
    """An object of that name exists."""


class InvalidError(ApiError):
    """The object is not valid."""


class ForbiddenError(ApiError):
    """Not allowed, now."""


class UnavailableError(ApiError):
    """The server is busy, broken or out of reach."""


class ApiClient:
    """Objects of the API server, by kind, namespace and name."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object:
        """One object.

        Raises:
            ApiError: see the module.
        """
        return await self._again("GET", _path(kind, namespace, name))

    async def serves(self, group: str) -> bool:
        """Whether the server has a group of APIs."""
        try:
            await self._again("GET", f"/apis/{group}")
        except NotFoundError:
            return False
        return True

    async def list_all(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
    ) -> list[Object]:
        """All objects of a kind (in one namespace, or in all), page by page."""
        items: list[Object] = []
        query = {"limit": str(PAGE)}
        if labels:
            query["labelSelector"] = labels
        if fields:
            query["fieldSelector"] = fields
        while True:
            page = await self._again(
                "GET",
                _path(kind, namespace),
                query=query,
                timeout=LIST_TIMEOUT,
            )
            items += page.get("items") or ()
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return items
            query["continue"] = token

    async def list_metadata(
        self, kind: Kind, namespace: str | None = None, *, labels: str = ""
    ) -> tuple[list[Object], str]:
        """The metadata of all objects of a kind, and the resourceVersion of the list.

        Answered from the API server's watch cache, as cheap as a list can be.
        """
        query = {"resourceVersion": "0"}
        if labels:
            query["labelSelector"] = labels
        answer = await self._again(
            "GET",
            _path(kind, namespace),
            query=query,
            headers={"Accept": METADATA_ONLY},
            timeout=LIST_TIMEOUT,
        )
        metadata = [item["metadata"] for item in answer.get("items") or ()]
        return metadata, (answer.get("metadata") or {}).get("resourceVersion", "")

    async def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Make an object; unknown fields in it are errors."""
        return await self._request(
            "POST", _path(kind, namespace), query={"fieldValidation": "Strict"}, body=body
        )

    async def patch_status(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """Merge a patch into an object's status.

        The patch carries the resourceVersion it was decided on, so that a change in between is a
        ConflictError.
        """
        return await self._request(
            "PATCH",
            _path(kind, namespace, name) + "/status",
            query={"fieldManager": "headway-operator"},
            body=patch,
            headers={"Content-Type": MERGE_PATCH},
        )

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, grace: int | None = None
    ) -> None:
        """Delete the object with that uid.

        A Job goes after its pods: it makes none any more, and is gone only when they are.

        Args:
            kind: its kind.
            namespace: its namespace.
            name: its name.
            uid: nothing but that very object is deleted.
            grace: seconds until SIGKILL, for pods.
        """
        policy = "Foreground" if kind is JOBS else "Background"
        body: Object = {"preconditions": {"uid": uid}, "propagationPolicy": policy}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        await self._again("DELETE", _path(kind, namespace, name), body=body)

    async def log(self, namespace: str, pod: str, container: str, *, lines: int, most: int) -> str:
        """The last lines of a container's log, at most ``most`` bytes of them."""
        path = _path(PODS, namespace, pod) + "/log"
        query = {"container": container, "tailLines": str(lines)}
        try:
            async with self._session.get(
                self._server + path, params=query, timeout=LOG_TIMEOUT
            ) as response:
                if response.status >= 400:
                    raise await _error(response, "GET")
                tail = b""
                async for chunk in response.content.iter_chunked(65536):
                    tail = (tail + chunk)[-most:]
                return tail.decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError(f"no log: {error!r}") from error

    async def _again(self, method: str, path: str, **options: Any) -> Object:
        for left in reversed(range(TRIES)):
            try:
                return await self._request(method, path, **options)
            except UnavailableError:
                if not left:
                    raise
            await asyncio.sleep(random.uniform(0.1, 0.4))
        raise AssertionError("unreachable")

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout = TIMEOUT,  # noqa: ASYNC109 - it is aiohttp's own
    ) -> Object:
        content = {"Content-Type": "application/json"} if body is not None else {}
        try:
            async with self._session.request(
                method,
                self._server + path,
                params=query,
                data=None if body is None else json.dumps(body),
                headers={**content, **(headers or {})},
                timeout=timeout,
            ) as response:
                if response.status >= 400:
                    raise await _error(response, method)
                answer: Object = json.loads(await response.read())
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError(f"{method} {path}: {error!r}") from error


def _path(kind: Kind, namespace: str | None, name: str | None = None) -> str:
    group, plural = kind
    where = f"/namespaces/{namespace}" if namespace else ""
    return f"{group}{where}/{plural}" + (f"/{name}" if name else "")


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: InvalidError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidError,
    429: UnavailableError,
}


async def _error(response: aiohttp.ClientResponse, method: str) -> ApiError:
    text = await response.text(errors="replace")
    try:
        said = json.loads(text)
        message, reason = said.get("message") or "", said.get("reason") or ""
    except (ValueError, AttributeError):
        message, reason = text[:500], ""
    kind = _BY_STATUS.get(response.status, UnavailableError if response.status >= 500 else ApiError)
    if reason == "AlreadyExists":
        kind = AlreadyExistsError
    message = message or f"{method} {response.url.path}: HTTP {response.status}"
    return kind(message, response.status, reason)
