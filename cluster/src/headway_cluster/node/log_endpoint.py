"""Where the API server reads the logs of containers: kubelet's ``/containerLogs``, nothing else.

Only the API server itself may ask: the client certificate must carry its name. Commands are never
run here, so exec, attach and port-forward are answered with what they are: not offered.
"""

from __future__ import annotations

import contextlib
import logging
import select
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from headway_cluster.node.log_lines import (
    Entry,
    LogReader,
    Rendering,
    Selection,
    last_lines,
    seconds_ago,
    stamp,
)

log = logging.getLogger(__name__)

_HANDSHAKE_SECONDS = 10.0
_FOLLOW_INTERVAL = 0.1
"""Seconds between two looks at a log that is followed."""


@dataclass(frozen=True)
class Source:
    """A run's log.

    Attributes:
        log: the file.
        ended: whether nothing more will be written to it.
    """

    log: Path
    ended: Callable[[], bool]


class NoLogError(Exception):
    """There is no such log; the message is for a person.

    Attributes:
        status: what it means in HTTP.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """What is asked for."""

    namespace: str
    pod: str
    container: str
    previous: bool
    follow: bool
    selection: Selection


Find = Callable[[Request], Source]
Allows = Callable[[str, list[str]], bool]


def parse(target: str) -> Request:
    """Read ``/containerLogs/NAMESPACE/POD/CONTAINER?options``.

    Raises:
        NoLogError: it is something else, or an option is wrong.
    """
    parts = urlsplit(target)
    steps = [unquote(step) for step in parts.path.strip("/").split("/")]
    if steps[0] in ("exec", "attach", "portForward", "run"):
        raise NoLogError(
            HTTPStatus.NOT_IMPLEMENTED,
            f"{steps[0]} is not offered by a process node: its containers are processes of the"
            " host, so log in there",
        )
    if len(steps) != 4 or steps[0] != "containerLogs":
        raise NoLogError(HTTPStatus.NOT_FOUND, "a process node offers only /containerLogs")
    options = {key: values[-1] for key, values in parse_qs(parts.query).items()}

    def number(key: str) -> int | None:
        text = options.get(key)
        if text is None:
            return None
        if not text.isdigit():
            raise NoLogError(HTTPStatus.BAD_REQUEST, f"{key} must be a number, not {text!r}")
        return int(text)

    since = ""
    if (seconds := number("sinceSeconds")) is not None:
        since = seconds_ago(seconds)
    elif moment := options.get("sinceTime"):
        try:
            since = stamp(datetime.fromisoformat(moment))
        except ValueError:
            raise NoLogError(
                HTTPStatus.BAD_REQUEST, f"sinceTime must be a time, not {moment!r}"
            ) from None
    stream = options.get("stream", "All").lower()
    return Request(
        namespace=steps[1],
        pod=steps[2],
        container=steps[3],
        previous=options.get("previous") == "true",
        follow=options.get("follow") == "true",
        selection=Selection(
            tail=number("tailLines"),
            since=since,
            timestamps=options.get("timestamps") == "true",
            limit=number("limitBytes"),
            stream="" if stream == "all" else stream,
        ),
    )


def output(
    source: Source, selection: Selection, *, follow: bool, wait: Callable[[float], bool]
) -> Iterator[bytes]:
    """The wanted part of a log.

    Args:
        source: the log.
        selection: what is wanted of it.
        follow: go on with what is still to come, until the run has ended.
        wait: waits so many seconds; returns whether to give up.
    """
    reader = LogReader(source.log)
    rendering = Rendering(selection)
    try:
        there: Iterator[Entry] = (entry for entry in reader.entries() if selection.wants(entry))
        if selection.tail is not None:
            there = iter(last_lines(there, selection.tail))
        for entry in there:
            if rendering.full:
                return
            yield rendering(entry)
        while follow and not rendering.full:
            # Asked before reading: what is written before the end is then read after it.
            ended = source.ended()
            for entry in reader.entries():
                if selection.wants(entry):
                    yield rendering(entry)
            if ended or wait(_FOLLOW_INTERVAL):
                return
    finally:
        reader.close()


class LogEndpoint:
    """The HTTPS server."""

    def __init__(
        self, address: str, port: int, context: ssl.SSLContext, allows: Allows, find: Find
    ) -> None:
        """Bind the port.

        Args:
            address: IP address to listen at.
            port: port; 0 takes a free one.
            context: a server's TLS settings, which demand client certificates.
            allows: says whether a user of some groups may read logs.
            find: finds the log that a request is for; raises ``NoLogError``.
        """
        self._server = _Server((address, port), _Handler)
        self._server.tls = context
        self._server.allows = allows
        self._server.find = find
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="log-endpoint", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Close it; what is being followed ends with the process."""
        self._server.shutdown()
        self._server.server_close()


def tls(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """Settings of a server that takes clients of one authority only.

    Raises:
        OSError: a file cannot be read, or is not what it should be (``ssl.SSLError``).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    tls: ssl.SSLContext
    allows: Allows
    find: Find

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the request's own thread: a slow handshake keeps nobody else waiting."""
        request.settimeout(_HANDSHAKE_SECONDS)
        try:
            secured = self.tls.wrap_socket(request, server_side=True)
        except OSError as error:
            log.info("log endpoint: %s was refused: %s", client_address[0], error)
            return
        with secured:
            _Handler(secured, client_address, self)
            secured.settimeout(_HANDSHAKE_SECONDS)
            with contextlib.suppress(OSError):
                secured.unwrap()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        log.debug("log endpoint: a request of %s was cut off", client_address[0])


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    connection: ssl.SSLSocket
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        self.close_connection = True
        try:
            self._authorize()
            request = parse(self.path)
            source = self.server.find(request)
        except NoLogError as error:
            self._refuse(error)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        # Whoever reads in a pager may take hours.
        self.connection.settimeout(None)
        with contextlib.suppress(OSError):
            for data in output(source, request.selection, follow=request.follow, wait=self._wait):
                if data:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")

    do_POST = do_GET  # noqa: N815 - the base class wants the method's name so

    def _authorize(self) -> None:
        certificate: Any = self.connection.getpeercert() or {}
        told = [pair for part in certificate.get("subject", ()) for pair in part]
        users = [value for key, value in told if key == "commonName"]
        groups = [value for key, value in told if key == "organizationName"]
        if len(users) != 1 or not self.server.allows(users[0], groups):
            raise NoLogError(
                HTTPStatus.FORBIDDEN, "only the API server may read logs here; use kubectl logs"
            )

    def _refuse(self, error: NoLogError) -> None:
        text = str(error).encode()
        self.send_response(error.status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)

    def _wait(self, seconds: float) -> bool:
        """Wait; True when the client has gone: it says nothing more but good-bye."""
        readable, _, _ = select.select([self.connection], [], [], seconds)
        return bool(readable)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Requests are not logged."""
