"""Which cluster a client talks to, and one connection to it: raw JSON in and out.

The kubeconfig, its certificates, tokens and login plugins are read by the ``kubernetes`` package;
it is imported when a connection is made, because that takes most of a second.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from headway_api import environment, names
from headway_api.version import __version__

from headway.client_errors import ClientError, Invalid, NotFound, Unreachable, from_answer

if TYPE_CHECKING:
    import urllib3

_CONNECT_TIMEOUT = 5.0
_READ_TIMEOUT = 30.0
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

Object = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """Which kubeconfig was chosen, and why.

    Attributes:
        files: the kubeconfig, or several joined by the system's path separator; None for the
            ServiceAccount of the pod that this process runs in.
        context: the context asked for; None for the file's current one.
        because: why this one, for people.
    """

    files: str | None
    context: str | None
    because: str


def local_kubeconfig(env: Mapping[str, str] | None = None) -> Path:
    """Where ``headway cluster up`` leaves its kubeconfig, whether it is there or not."""
    env = os.environ if env is None else env
    if home := env.get(environment.HOME):
        state = Path(home).expanduser().absolute() / "state"
    else:
        base = env.get("XDG_STATE_HOME", "")
        if not base.startswith("/"):  # a relative one is invalid by the XDG specification
            base = str(Path(env.get("HOME") or Path.home()) / ".local" / "state")
        state = Path(base) / "headway"
    return state / "cluster" / "kubeconfig"


def choose(
    kubeconfig: Path | None = None,
    context: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Choice:
    """The cluster to talk to: the one named; else $KUBECONFIG; else the local one; else the usual.

    Args:
        kubeconfig: a file named by the person.
        context: a context named by the person; without a file it is looked for in $KUBECONFIG (or
            the usual file), then in the local cluster's.
        env: the environment.

    Raises:
        Unreachable: no cluster is configured, or the file does not exist.
    """
    env = os.environ if env is None else env
    if kubeconfig is not None:
        if not kubeconfig.exists():
            raise Unreachable(f"No cluster is configured: there is no file {kubeconfig}.")
        return Choice(str(kubeconfig), context, f"{kubeconfig}, as asked for")
    local, usual = local_kubeconfig(env), Path.home() / ".kube" / "config"
    named = env.get("KUBECONFIG", "")
    candidates = []
    if named:
        candidates.append(Choice(named, context, f"{named}, from $KUBECONFIG"))
    elif context is not None and usual.exists():
        candidates.append(Choice(str(usual), context, f"{usual}"))
    if local.exists():
        candidates.append(Choice(str(local), context, f"{local}, the local cluster's"))
    if not named and usual.exists():
        candidates.append(Choice(str(usual), context, f"{usual}"))
    if env.get("KUBERNETES_SERVICE_HOST"):
        candidates.append(Choice(None, None, "the ServiceAccount of this pod"))
    if context is not None:
        candidates = [c for c in candidates if c.files and context in _contexts(c.files)]
        if not candidates:
            raise Unreachable(f"There is no context {context} in your kubeconfig.")
    if not candidates:
        raise Unreachable("No cluster is configured: there is no kubeconfig.")
    return candidates[0]


def _contexts(files: str) -> list[str]:
    from kubernetes import config

    try:
        contexts, _ = config.list_kube_config_contexts(files)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError, TypeError, KeyError):
        return []
    return [str(entry["name"]) for entry in contexts]


class ClusterApi:
    """One connection to an API server. Thread-safe, as its pool is.

    Attributes:
        server: base URL of the API server.
        context: name of the kubeconfig's context; empty in a pod.
        namespace: the context's namespace.
        because: where the configuration came from, for people.
    """

    def __init__(self, choice: Choice) -> None:
        self.because = choice.because
        self._configuration, self.context, self.namespace = _configured(choice)
        self.server = str(self._configuration.host).rstrip("/")
        self._pool = _pool(self._configuration)

    def request(
        self,
        method: str,
        path: str,
        *,
        doing: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        read_timeout: float = _READ_TIMEOUT,
    ) -> Object:
        """Send one request; the answer is the JSON object that came.

        Args:
            method: the HTTP method.
            path: the path on the server.
            doing: what is tried, as an error says it: ``list operations in namespace default``.
            query: the query's parameters.
            body: JSON data.
            content_type: of the body.
            read_timeout: seconds of silence after which the server counts as unreachable.

        Raises:
            ClientError: one of its kinds; see :mod:`headway.client_errors`.
        """
        reply = self._send(method, path, query, body, content_type, read_timeout, doing)
        try:
            data = reply.data
        except Exception as error:
            raise self._silent(error, doing) from error
        return _json_object(data)

    def text(self, path: str, *, doing: str, query: Mapping[str, str] | None = None) -> str:
        """A GET whose answer is no JSON."""
        reply = self._send("GET", path, query, None, "", _READ_TIMEOUT, doing)
        try:
            return reply.data.decode("utf-8", "replace")
        except Exception as error:
            raise self._silent(error, doing) from error

    def lines(
        self,
        path: str,
        *,
        doing: str,
        query: Mapping[str, str],
        silence: float | None,
    ) -> Iterator[bytes]:
        """The lines of a long answer (a watch, a log that is followed) as they come.

        Args:
            path: the path on the server.
            doing: what is tried.
            query: the query's parameters.
            silence: seconds without a byte after which the connection counts as dead; None never.

        Raises:
            ClientError: it was refused, it broke, or it stayed silent.
        """
        reply = self._send("GET", path, query, None, "", silence, doing)
        rest = b""
        try:
            for chunk in reply.stream(amt=None, decode_content=True):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from whole
        except GeneratorExit:
            raise
        except Exception as error:
            raise self._silent(error, doing) from error
        finally:
            reply.close()
        if rest:
            yield rest

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: object,
        content_type: str,
        read_timeout: float | None,
        doing: str,
    ) -> urllib3.BaseHTTPResponse:
        import urllib3

        url = self.server + path + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "User-Agent": f"headway-client/{__version__}"}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            try:
                data = json.dumps(body, allow_nan=False).encode()
            except (TypeError, ValueError) as error:  # NaN, or what only YAML can say
                raise Invalid(f"Cannot {doing}: JSON cannot say it.", [str(error)]) from error
        try:
            # Asked for every time: login plugins and pods renew their tokens.
            token = self._configuration.auth_settings().get("BearerToken")
            if token is not None and token["value"]:
                headers["Authorization"] = token["value"]
            reply: urllib3.BaseHTTPResponse = self._pool.request(
                method,
                url,
                body=data,
                headers=headers,
                timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=read_timeout),
                retries=False,
                preload_content=False,
            )
            if 200 <= reply.status < 300:
                return reply
            answer = _json_object(reply.data)
        except Exception as error:
            raise self._silent(error, doing) from error
        raise from_answer(reply.status, answer, doing)

    def _silent(self, error: Exception, doing: str) -> ClientError:
        """What a failure below HTTP means; anything unexpected is raised as it is."""
        import urllib3

        if isinstance(error, ClientError):
            return error
        if not isinstance(error, urllib3.exceptions.HTTPError | OSError):
            raise error
        return Unreachable(f"Cannot {doing}: {self.server} does not answer.", [_in_words(error)])


def _configured(choice: Choice) -> tuple[Any, str, str]:
    """The configuration of the ``kubernetes`` package, the context's name and its namespace."""
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException
    from yaml import YAMLError

    configuration = Configuration()
    try:
        if choice.files is None:
            return configuration, "", _load_service_account(configuration)
        contexts, current = _load_kubeconfig(choice, configuration)
    except (ConfigException, OSError, YAMLError, UnicodeDecodeError) as error:
        raise Unreachable(
            f"No cluster is configured: {choice.because}, cannot be used.", [str(error)]
        ) from error
    except (TypeError, KeyError, AttributeError) as error:  # YAML, but of another shape
        raise Unreachable(
            f"No cluster is configured: {choice.because}, is no kubeconfig."
        ) from error
    entry = current
    if choice.context is not None:
        entry = next(c for c in contexts if c["name"] == choice.context)
    return configuration, str(entry["name"]), str(entry["context"].get("namespace") or "default")


def _load_service_account(configuration: Any) -> str:
    """Fill the configuration from the pod's ServiceAccount; returns its namespace."""
    from kubernetes.config.incluster_config import InClusterConfigLoader

    folder = Path(os.environ.get(environment.SERVICE_ACCOUNT_DIR) or names.SERVICE_ACCOUNT_PATH)
    loader = InClusterConfigLoader(  # type: ignore[no-untyped-call]
        str(folder / "token"), str(folder / "ca.crt")
    )
    loader.load_and_set(configuration)  # type: ignore[no-untyped-call]
    return (folder / "namespace").read_text(encoding="utf-8").strip() or "default"


def _load_kubeconfig(choice: Choice, configuration: Any) -> tuple[list[Any], Any]:
    """Fill the configuration from a kubeconfig; returns its contexts and the current one."""
    from kubernetes import config

    config.load_kube_config(  # type: ignore[no-untyped-call]
        choice.files,
        context=choice.context,
        client_configuration=configuration,
        persist_config=False,
    )
    found: tuple[list[Any], Any] = config.list_kube_config_contexts(  # type: ignore[no-untyped-call]
        choice.files
    )
    return found


def _pool(configuration: Any) -> Any:
    from kubernetes.client.rest import RESTClientObject

    return RESTClientObject(configuration).pool_manager


def _json_object(data: bytes) -> Object:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _in_words(error: Exception) -> str:
    """The root of an error of urllib3, without the object that repeats it."""
    import urllib3

    reason = getattr(error, "reason", None)
    while isinstance(reason, Exception):
        error, reason = reason, getattr(reason, "reason", None)
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        return f"no connection within {_CONNECT_TIMEOUT:g} s"
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return "no answer in time"
    text = str(error)
    return text.split(">: ", 1)[-1].removeprefix("Failed to establish a new connection: ")


def segment(text: str) -> str:
    """One part of a path, with what would break out of it escaped.

    Raises:
        NotFound: it is no name that an object can have, and would make a path to another one: that
            of an empty name is the path of all of them.
    """
    if text in ("", ".", ".."):
        raise NotFound(f"There is nothing of the name {text!r}.")
    return quote(text, safe="")
