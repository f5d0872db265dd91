"""The little of the Kubernetes API that a node speaks: JSON over one pool of connections."""

from __future__ import annotations

import base64
import json
import logging
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3
import yaml
from urllib3.connection import HTTPConnection

Json = dict[str, Any]
log = logging.getLogger(__name__)

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
_REQUEST_TIMEOUT = 10.0
_WATCH_SECONDS = 300
"""The API server ends a watch after so long; it is then taken up again where it was."""


class ApiError(Exception):
    """The API server refused a request.

    Attributes:
        code: HTTP status.
        reason: the API's machine-readable reason, such as ``NotFound``.
    """

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class ApiUnavailableError(Exception):
    """The API server could not be reached, or was not able to answer."""


class Api:
    """A client with one identity, read from a kubeconfig's current context. Thread-safe."""

    def __init__(self, kubeconfig: Path) -> None:
        """Read the kubeconfig.

        Raises:
            OSError: it or a file it names cannot be read.
            ValueError: it has no usable current context.
        """
        self._kubeconfig = kubeconfig
        self.reload()

    def reload(self) -> None:
        """Read the kubeconfig again: it has another credential. What is under way goes on.

        Raises:
            OSError: it or a file it names cannot be read.
            ValueError: it has no usable current context.
        """
        self.server, self._headers, context = _credentials(self._kubeconfig)
        self._pool = urllib3.PoolManager(
            num_pools=2,
            maxsize=16,
            block=False,
            retries=False,
            ssl_context=context,
            timeout=urllib3.Timeout(connect=5.0, read=_REQUEST_TIMEOUT),
            socket_options=[*HTTPConnection.default_socket_options, *_keep_alive()],
        )

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Where the API server is."""
        parts = urlsplit(self.server)
        return parts.hostname or "", parts.port or 443

    def get(self, path: str, **query: str) -> Json:
        """GET an object or a list."""
        return self.request("GET", path, query=query)

    def create(self, path: str, body: Json) -> Json:
        """POST an object to its collection."""
        return self.request("POST", path, body)

    def replace(self, path: str, body: Json) -> Json:
        """PUT an object."""
        return self.request("PUT", path, body)

    def patch(self, path: str, body: Json, kind: str = STRATEGIC_MERGE_PATCH) -> Json:
        """PATCH an object."""
        return self.request("PATCH", path, body, content=kind)

    def delete(self, path: str, body: Json) -> Json:
        """DELETE an object; ``body`` are the DeleteOptions."""
        return self.request("DELETE", path, body)

    def request(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content: str = JSON,
    ) -> Json:
        """One request.

        Raises:
            ApiError: it was refused.
            ApiUnavailableError: there was no answer, or 429 or 5xx.
        """
        url = self.server + path + (f"?{urlencode(query)}" if query else "")
        headers = {**self._headers, "Accept": JSON, "Content-Type": content}
        data = None if body is None else json.dumps(body).encode()
        try:
            answer = self._pool.request(method, url, body=data, headers=headers)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiUnavailableError(f"{method} {path}: {error}") from error
        if answer.status >= HTTPStatus.BAD_REQUEST:
            _refuse(answer.status, answer.data)
        result: Json = json.loads(answer.data)
        return result

    def watch(self, path: str, version: str, **query: str) -> Iterator[Json]:
        """The events of a collection since a resource version, until the watch ends by itself.

        Raises:
            ApiError: refused; 410 means that the version is too old and a list is needed.
            ApiUnavailableError: the connection was cut.
        """
        query = {
            **query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        try:
            answer = self._pool.request(
                "GET",
                f"{self.server}{path}?{urlencode(query)}",
                headers={**self._headers, "Accept": JSON},
                preload_content=False,
                timeout=urllib3.Timeout(connect=5.0, read=_WATCH_SECONDS + 30),
            )
            if answer.status >= HTTPStatus.BAD_REQUEST:
                _refuse(answer.status, answer.read())
            try:
                yield from _events(answer)
            finally:
                # A stream that was left half-way cannot carry another request.
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiUnavailableError(f"watch of {path}: {error}") from error


def _events(answer: urllib3.BaseHTTPResponse) -> Iterator[Json]:
    rest = b""
    for chunk in answer.stream(amt=None):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            event: Json = json.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise ApiError(
                    int(status.get("code") or 0),
                    status.get("reason", ""),
                    status.get("message", ""),
                )
            yield event


def _refuse(code: int, data: bytes) -> None:
    try:
        status = json.loads(data)
        reason, message = str(status.get("reason", "")), str(status.get("message", ""))
    except (ValueError, AttributeError):
        reason, message = "", data[:500].decode(errors="replace")
    if code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ApiUnavailableError(f"{code} {reason}: {message}")
    raise ApiError(code, reason, message)


class Follower:
    """A thread that keeps a picture of a collection: list, watch, and again when that is cut.

    Subclasses say what happens with it; they are called from the one thread.
    """

    def __init__(self, api: Api, path: str, name: str, **query: str) -> None:
        self._api = api
        self._path = path
        self._query = query
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=name, daemon=True)

    def listed(self, objects: list[Json]) -> None:
        """Everything there is; what is not among it is gone."""
        raise NotImplementedError

    def changed(self, kind: str, obj: Json) -> None:
        """One object was ADDED, MODIFIED or DELETED."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Tell nothing more; the thread ends with its connection or the process."""
        self._stopped.set()

    def _follow(self) -> None:
        version: str | None = None
        pause = 0.0
        while not self._stopped.wait(pause):
            pause = min(max(pause * 2, 0.05), 2.0)
            try:
                if version is None:
                    answer = self._api.get(self._path, **self._query)
                    version = str(answer["metadata"]["resourceVersion"])
                    self.listed(answer["items"])
                for event in self._api.watch(self._path, version, **self._query):
                    if self._stopped.is_set():
                        return
                    pause = 0.0
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self.changed(event["type"], event["object"])
                pause = 0.0
            except ApiError as error:
                log.info("%s: %s; listing again", self._path, error)
                version = None
            except ApiUnavailableError as error:
                # The version still stands: nothing is lost, and no list is needed.
                log.debug("%s", error)
            except Exception:
                log.exception("following %s failed; listing again", self._path)
                version = None


def _keep_alive() -> list[tuple[int, int, int]]:
    """Socket options by which a watch notices that the other end has gone without a word.

    As after a machine's sleep or a change of its network: else it would wait for minutes.
    """
    wanted = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
    return [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        *(
            (socket.IPPROTO_TCP, getattr(socket, name), value)
            for name, value in wanted.items()
            if hasattr(socket, name)
        ),
    ]


def _credentials(kubeconfig: Path) -> tuple[str, dict[str, str], ssl.SSLContext]:
    config = yaml.safe_load(kubeconfig.read_text()) or {}

    def named(kind: str, plural: str, name: str) -> Json:
        for entry in config.get(plural) or ():
            if entry.get("name") == name:
                return dict(entry.get(kind) or {})
        raise ValueError(f'{kubeconfig}: there is no {kind} "{name}"')

    current = named("context", "contexts", config.get("current-context") or "")
    cluster = named("cluster", "clusters", current.get("cluster") or "")
    user = named("user", "users", current.get("user") or "")

    def content(part: Json, key: str) -> bytes | None:
        file: str | None
        if inline := part.get(f"{key}-data"):
            return base64.b64decode(inline)
        if file := part.get(key):
            return Path(kubeconfig.parent, file).read_bytes()
        return None

    authority = content(cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    certificate, key = content(user, "client-certificate"), content(user, "client-key")
    if certificate and key:
        with tempfile.NamedTemporaryFile() as file:
            # The ssl module reads key pairs from files only.
            file.write(certificate + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    token = user.get("token")
    if not token and user.get("tokenFile"):
        token = (kubeconfig.parent / user["tokenFile"]).read_text().strip()
    return (
        cluster["server"].rstrip("/"),
        {"Authorization": f"Bearer {token}"} if token else {},
        context,
    )


def pause_after(failures: int, longest: float = 10.0) -> float:
    """Seconds to wait after so many failures in a row: 0.1, 0.2, 0.4, ... up to ``longest``."""
    return float(min(0.1 * 2 ** min(failures, 20), longest))
