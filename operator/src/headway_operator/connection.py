"""How to reach the API server, and as whom.

In a cluster: the ServiceAccount mounted in the pod, or where ``HEADWAY_SERVICE_ACCOUNT_DIR``
says. The token is read again as Kubernetes renews it. For development: a kubeconfig.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from headway_api import environment, names

TOKEN_IS_FRESH_FOR = 30.0
"""Seconds for which a token that was read from a file is not read again."""

Observer = Callable[[str, str, int, float], None]
"""Told of every request: method, path, status code (0 for none) and seconds."""


class ConfigurationError(Exception):
    """The configuration does not say how to reach an API server."""


class Token:
    """A bearer token; one that lies in a file is read again now and then."""

    def __init__(self, text: str | None = None, file: Path | None = None) -> None:
        self._text = text
        self._file = file
        self._read_at = float("-inf")

    def current(self) -> str | None:
        """The token to send now; None where a client certificate speaks for us."""
        if self._file and time.monotonic() - self._read_at > TOKEN_IS_FRESH_FOR:
            self._text = self._file.read_text(encoding="utf-8").strip()
            self._read_at = time.monotonic()
        return self._text

    def forget(self) -> None:
        """Read the file again on the next use: the server did not like the token."""
        self._read_at = float("-inf")


@dataclass(frozen=True)
class Connection:
    """An API server, and who we are to it."""

    server: str
    tls: ssl.SSLContext | None
    token: Token

    def session(self, observer: Observer) -> aiohttp.ClientSession:
        """A new HTTP session; whoever asked for it closes it.

        Args:
            observer: told of every request, for metrics.
        """

        async def authorized(
            request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            token = self.token.current()
            if token:
                request.headers["Authorization"] = f"Bearer {token}"
            response = await _observed(request, send, observer)
            if response.status == 401:
                self.token.forget()
            return response

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.tls or True, limit=0, keepalive_timeout=60),
            headers={"User-Agent": "headway-operator"},
            middlewares=(authorized,),
        )


async def _observed(
    request: aiohttp.ClientRequest,
    send: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    observer: Observer,
) -> aiohttp.ClientResponse:
    began = time.monotonic()
    status = 0
    try:
        response = await send(request)
        status = response.status
        return response
    finally:
        observer(request.method, request.url.path, status, time.monotonic() - began)


def in_cluster(env: Mapping[str, str] = os.environ) -> Connection:
    """The connection of a pod.

    Raises:
        ConfigurationError: this is not a pod with a ServiceAccount.
    """
    folder = Path(env.get(environment.SERVICE_ACCOUNT_DIR) or names.SERVICE_ACCOUNT_PATH)
    host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (folder / "token").exists():
        raise ConfigurationError(
            "not in a pod with a ServiceAccount (no KUBERNETES_SERVICE_HOST, or no token in "
            f"{folder}): give --kubeconfig FILE"
        )
    tls = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    if ":" in host:
        host = f"[{host}]"
    return Connection(f"https://{host}:{port}", tls, Token(file=folder / "token"))


def from_kubeconfig(path: Path, context: str | None = None) -> Connection:
    """The connection of a kubeconfig's context (its current one unless named).

    Raises:
        ConfigurationError: the file says no complete connection.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    chosen = context or config.get("current-context")
    entry = _named(config, "contexts", "context", chosen, path)
    cluster = _named(config, "clusters", "cluster", entry.get("cluster"), path)
    user = _named(config, "users", "user", entry.get("user"), path)
    if "exec" in user or "auth-provider" in user:
        raise ConfigurationError(
            f"{path}: user {entry.get('user')!r} logs in by a plugin, which the operator does not "
            "run; use a token or a client certificate"
        )
    server = str(cluster.get("server", "")).rstrip("/")
    token_file = user.get("tokenFile")
    token = Token(user.get("token"), path.parent / token_file if token_file else None)
    return Connection(server, _tls(server, cluster, user, path.parent), token)


def _named(
    config: Mapping[str, Any], kind: str, member: str, name: str | None, path: Path
) -> Mapping[str, Any]:
    for entry in config.get(kind) or ():
        if entry.get("name") == name:
            found: Mapping[str, Any] = entry.get(member) or {}
            return found
    raise ConfigurationError(f"{path}: no {member} named {name!r}")


def _tls(
    server: str, cluster: Mapping[str, Any], user: Mapping[str, Any], folder: Path
) -> ssl.SSLContext | None:
    if not server.startswith("https"):
        return None
    authority = _material(cluster, "certificate-authority", folder)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate = _material(user, "client-certificate", folder)
    key = _material(user, "client-key", folder)
    if certificate and key:
        # OpenSSL takes a certificate from a file only; it need not live longer than this.
        with tempfile.NamedTemporaryFile() as file:
            file.write(certificate + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _material(source: Mapping[str, Any], name: str, folder: Path) -> bytes | None:
    data = source.get(f"{name}-data")
    if data:
        return base64.b64decode(data)
    file = source.get(name)
    return (folder / file).read_bytes() if file else None
