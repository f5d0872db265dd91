"""A client of TrainingOperations, for the command line and for programs.

Objects are the API's own JSON, as dictionaries. Every error is a
:class:`headway.client_errors.ClientError` whose text is meant for a person.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from headway_api import environment, names
from headway_api.vocabulary import FINAL_PHASES

from headway.client_errors import (
    ClientError,
    Forbidden,
    Invalid,
    NameTaken,
    NotFound,
    NotInstalled,
    Refused,
    TimedOut,
    Unreachable,
)
from headway.cluster_api import MERGE_PATCH, ClusterApi, Object, choose, segment

__all__ = [
    "ClientError",
    "Forbidden",
    "Invalid",
    "NameTaken",
    "NotFound",
    "NotInstalled",
    "OperationsClient",
    "Refused",
    "TimedOut",
    "Unreachable",
]

Objects = list[Object]

_PAGE = 500
_WATCH_ENDS_AFTER = 60
_SILENCE = 75.0
"""The server ends a watch after a minute: 75 s without a byte mean a dead connection."""
_FIRST_RETRY = 0.5
_LONGEST_RETRY = 5.0


class OperationsClient:
    """TrainingOperations of one namespace, and what belongs to them.

    Args:
        api: the connection.
        namespace: the namespace; None for $HEADWAY_NAMESPACE, else the context's.
    """

    def __init__(self, api: ClusterApi, namespace: str | None = None) -> None:
        self.api = api
        self.namespace = namespace or os.environ.get(environment.NAMESPACE) or api.namespace

    @classmethod
    def connect(
        cls,
        kubeconfig: Path | None = None,
        context: str | None = None,
        namespace: str | None = None,
    ) -> Self:
        """A client of the cluster that is chosen as :func:`headway.cluster_api.choose` says.

        Nothing is sent yet.

        Raises:
            Unreachable: no cluster is configured, or a file that was named does not exist.
        """
        return cls(ClusterApi(choose(kubeconfig, context)), namespace)

    def create(self, manifest: Object) -> Object:
        """Make an operation; a field that the schema does not know is an error.

        Args:
            manifest: the whole object; its namespace, if it names one, wins over the client's.

        Raises:
            Invalid: it is wrong; the details say where.
            NameTaken: an operation of that name exists.
            ClientError: anything else.
        """
        metadata = manifest.get("metadata") or {}
        namespace = metadata.get("namespace") or self.namespace
        begins = metadata.get("generateName")
        what = metadata.get("name") or (f"{begins}..." if begins else "without a name")
        return self.api.request(
            "POST",
            _operations(namespace),
            query={"fieldValidation": "Strict", "fieldManager": "headway"},
            body=manifest,
            doing=f"create operation {what} in namespace {namespace}",
        )

    def get(self, name: str) -> Object:
        """One operation.

        Raises:
            NotFound: there is none of that name.
            ClientError: anything else.
        """
        return self.api.request("GET", self._path(name), doing=self._doing("get", name))

    def list(
        self, label_selector: str = "", field_selector: str = "", all_namespaces: bool = False
    ) -> Objects:
        """The operations of the namespace, or of all namespaces.

        Raises:
            ClientError: the cluster does not answer, or does not allow it.
        """
        path = _operations(None if all_namespaces else self.namespace)
        where = "all namespaces" if all_namespaces else f"namespace {self.namespace}"
        return self._items(path, f"list operations in {where}", label_selector, field_selector)

    def watch(
        self,
        name: str,
        *,
        on_trouble: Callable[[str], None] | None = None,
        timeout: float | None = None,
    ) -> Iterator[Object]:
        """The operation now, and again whenever it changes; ends when it is deleted.

        A watch that breaks or falls silent is rebuilt, and nothing between is lost. Only the very
        first read raises because nobody answers; an outage later is waited out.

        Args:
            name: the operation.
            on_trouble: told why the cluster cannot be heard, and an empty text once it can again.
            timeout: seconds after which to give up.

        Raises:
            NotFound: there was no operation of that name to begin with.
            TimedOut: the timeout passed.
            ClientError: it cannot be watched, and trying again would not help.
        """
        tell = on_trouble or _ignore
        deadline = time.monotonic() + timeout if timeout is not None else None
        operation, since = self._seen(name)
        uid = operation["metadata"]["uid"]
        yield operation
        retry, well = _FIRST_RETRY, True
        while True:
            try:
                for event in self._events_of(name, since, deadline):
                    found = event.get("object") or {}
                    kind = event.get("type")
                    if kind == "ERROR":  # too old a version to go on from: read anew
                        _pause(retry * random.uniform(0.75, 1.25), deadline)
                        retry = min(retry * 2, _LONGEST_RETRY)
                        break
                    if kind == "DELETED" or (found.get("metadata") or {}).get("uid") != uid:
                        return
                    operation, retry = found, _FIRST_RETRY
                    yield operation
                again, since = self._seen(name)
            except NotFound:
                return
            except Unreachable as error:
                _check(deadline, name, timeout)
                tell(error.message)
                well = False
                _pause(retry * random.uniform(0.75, 1.25), deadline)
                retry = min(retry * 2, _LONGEST_RETRY)
                try:
                    again, since = self._seen(name)
                except NotFound:
                    return
                except Unreachable:
                    continue
            _check(deadline, name, timeout)
            if not well:
                well, retry = True, _FIRST_RETRY
                tell("")
            if again["metadata"]["uid"] != uid:
                return
            if _version(again) != _version(operation):
                operation = again
                yield operation

    def wait_final(self, name: str, timeout: float | None = None) -> Object:
        """The operation, as soon as it is Succeeded, Failed or Cancelled.

        Raises:
            TimedOut: that took longer than ``timeout`` seconds.
            NotFound: there is no such operation, or it was deleted meanwhile.
            ClientError: it cannot be watched.
        """
        for operation in self.watch(name, timeout=timeout):
            phase = (operation.get("status") or {}).get("phase")
            if phase in FINAL_PHASES:
                return operation
        raise NotFound(f"Operation {name} was deleted before it was over.")

    def cancel(
        self, name: str, reason: str | None = None, grace_seconds: int | None = None
    ) -> Object:
        """Ask an operation to stop; asking again changes nothing but what is given.

        Args:
            name: the operation.
            reason: why, for people.
            grace_seconds: how long its trainer has to stop by itself from when the cancel is seen;
                None leaves what the operation says.

        Raises:
            NotFound: there is no such operation.
            ClientError: anything else.
        """
        spec: Object = {"cancel": True}
        if reason is not None:
            spec["cancelReason"] = reason
        if grace_seconds is not None:
            spec["cancelGracePeriodSeconds"] = grace_seconds
        return self._change(name, spec, "cancel")

    def suspend(self, name: str) -> Object:
        """Ask an operation to pause: it writes a checkpoint, and its pods go.

        Raises:
            NotFound: there is no such operation.
            ClientError: anything else.
        """
        return self._change(name, {"suspend": True}, "suspend")

    def resume(self, name: str) -> Object:
        """Let a suspended operation go on, from its checkpoint.

        Raises:
            NotFound: there is no such operation.
            ClientError: anything else.
        """
        # Left out rather than false: a manifest that says nothing of it then stays quiet.
        return self._change(name, {"suspend": None}, "resume")

    def _change(self, name: str, spec: Object, verb: str) -> Object:
        return self.api.request(
            "PATCH",
            self._path(name),
            query={"fieldManager": "headway", "fieldValidation": "Strict"},
            body={"spec": spec},
            content_type=MERGE_PATCH,
            doing=self._doing(verb, name),
        )

    def delete(self, name: str, *, uid: str | None = None) -> None:
        """Delete an operation; its run is stopped and its own volumes go with it.

        Args:
            name: the operation.
            uid: delete nothing but that very object.

        Raises:
            NotFound: there is no such operation.
            ClientError: anything else.
        """
        body: Object = {"propagationPolicy": "Background"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        self.api.request("DELETE", self._path(name), body=body, doing=self._doing("delete", name))

    def wait_deleted(self, name: str, timeout: float | None = None) -> None:
        """Return once there is no such operation (any more).

        Raises:
            TimedOut: that took longer than ``timeout`` seconds.
        """
        try:
            for _ in self.watch(name, timeout=timeout):
                pass
        except NotFound:
            return

    def pods(self, name: str) -> Objects:
        """The pods of an operation that still exist, oldest first."""
        found = self._items(
            f"/api/v1/namespaces/{segment(self.namespace)}/pods",
            f"list the pods of operation {name} in namespace {self.namespace}",
            f"{names.LABEL_OPERATION}={name}",
        )
        return sorted(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))

    def log(
        self,
        pod: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        timestamps: bool = False,
    ) -> Iterator[str]:
        """The lines of a pod's trainer, as they stand or as they come.

        Raises:
            NotFound: the pod is gone.
            Invalid: its trainer has not started yet.
            ClientError: anything else.
        """
        query = {"container": names.TRAINER_CONTAINER}
        if follow:
            query["follow"] = "true"
        if tail is not None:
            query["tailLines"] = str(tail)
        if timestamps:
            query["timestamps"] = "true"
        path = f"/api/v1/namespaces/{segment(self.namespace)}/pods/{segment(pod)}/log"
        doing = f"read the log of pod {pod} in namespace {self.namespace}"
        # A trainer may say nothing for hours.
        lines = self.api.lines(path, doing=doing, query=query, silence=None if follow else 30.0)
        for line in lines:
            yield line.decode("utf-8", "replace")

    def events(self, name: str) -> Objects:
        """The Events about an operation, oldest first; they are kept for about an hour."""
        found = self._items(
            f"/api/v1/namespaces/{segment(self.namespace)}/events",
            f"list the events of operation {name} in namespace {self.namespace}",
            field_selector=f"involvedObject.kind={names.KIND},involvedObject.name={name}",
        )
        return sorted(found, key=_place_of_event)

    def _seen(self, name: str) -> tuple[Object, str]:
        """The operation, and the version of the whole collection to watch on from.

        The operation's own version may be too old for that: others have written since.
        """
        found = self.api.request(
            "GET",
            _operations(self.namespace),
            query={"fieldSelector": f"metadata.name={name}"},
            doing=self._doing("get", name),
        )
        items = found.get("items") or ()
        if not items:
            return self.get(name), ""  # it has appeared just now, or the right error is raised
        return {"apiVersion": names.API_VERSION, "kind": names.KIND, **items[0]}, _version(found)

    def _events_of(self, name: str, version: str, deadline: float | None) -> Iterator[Object]:
        left = deadline - time.monotonic() if deadline is not None else None
        if left is not None and left <= 0:
            return
        lines = self.api.lines(
            _operations(self.namespace),
            doing=self._doing("watch", name),
            query={
                "watch": "1",
                "fieldSelector": f"metadata.name={name}",
                "resourceVersion": version,
                "timeoutSeconds": str(_WATCH_ENDS_AFTER),
            },
            silence=_SILENCE if left is None else min(_SILENCE, left),
        )
        try:
            for line in lines:
                if line.strip():
                    yield json.loads(line)
                if deadline is not None and time.monotonic() >= deadline:
                    return
        except ValueError:  # cut in the middle of a line
            return
        finally:
            lines.close()  # type: ignore[attr-defined]

    def _items(
        self, path: str, doing: str, label_selector: str = "", field_selector: str = ""
    ) -> Objects:
        query = {"limit": str(_PAGE)}
        if label_selector:
            query["labelSelector"] = label_selector
        if field_selector:
            query["fieldSelector"] = field_selector
        items: Objects = []
        while True:
            page = self.api.request("GET", path, query=query, doing=doing)
            items += page.get("items") or ()
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return items
            query["continue"] = token

    def _path(self, name: str) -> str:
        return f"{_operations(self.namespace)}/{segment(name)}"

    def _doing(self, verb: str, name: str) -> str:
        return f"{verb} operation {name} in namespace {self.namespace}"


def _operations(namespace: str | None) -> str:
    within = f"/namespaces/{segment(namespace)}" if namespace is not None else ""
    return f"/apis/{names.API_VERSION}{within}/{names.PLURAL}"


def _version(operation: Object) -> str:
    return str(operation["metadata"]["resourceVersion"])


def _place_of_event(event: Object) -> tuple[str, int]:
    """Its time, which is in whole seconds, and within one second the order of writing."""
    time_of_it = (
        event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp", "")
    )
    version = _version(event)
    return str(time_of_it), int(version) if version.isdigit() else 0


def _ignore(trouble: str) -> None:
    """Nobody wants to hear of it."""


def _check(deadline: float | None, name: str, timeout: float | None) -> None:
    if deadline is not None and time.monotonic() >= deadline:
        raise TimedOut(f"Operation {name}: what was waited for did not happen in {timeout:g} s.")


def _pause(seconds: float, deadline: float | None) -> None:
    if deadline is not None:
        seconds = min(seconds, max(0.0, deadline - time.monotonic()))
    time.sleep(seconds)
