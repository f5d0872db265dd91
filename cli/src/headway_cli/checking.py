"""The doctor's examination: one finding after the other, from the connection outwards."""

from __future__ import annotations

import itertools
import platform
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.client_errors import ClientError, NotFound, NotInstalled
from headway.cluster_api import local_kubeconfig
from headway_api import names
from headway_api.version import __version__

from headway_cli.connecting import problem_of
from headway_cli.options import Where
from headway_cli.problems import Problem

if TYPE_CHECKING:
    from headway.client import OperationsClient


class Verdict(StrEnum):
    """How a check came out."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


_COLUMN = 19
"""Where the text of a finding begins."""
_SIGNS = {Verdict.GOOD: ("ok", 32), Verdict.WARNING: ("note", 33), Verdict.BAD: ("BAD", 31)}


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: what was looked at.
        verdict: how it is.
        text: what was found.
        todo: what to do about it; empty where nothing is to be done.
    """

    check: str
    verdict: Verdict
    text: str
    todo: str = ""

    def lines(self, *, colour: bool, width: int | None = None) -> list[str]:
        """The finding for people; its words keep to their column in a terminal of this width."""
        sign, code = _SIGNS[self.verdict]
        mark = f"{sign:<4}"
        if colour:
            mark = f"\x1b[{code}m{mark}\x1b[0m"
        said = self.text.splitlines() or [""]
        if width is not None:
            said = [part for line in said for part in _wrapped(line, width - _COLUMN)]
        first, *rest = said
        lines = [f"{mark}  {self.check:<12} {first}"]
        lines += [f"      {'':<12} {line}" for line in rest]
        if self.todo:
            lines.append(f"      {'':<12} Next: {self.todo}")
        return lines


def _wrapped(line: str, width: int) -> list[str]:
    """The line in parts of at most this width, except where a single word is longer."""
    parts = textwrap.wrap(line, max(width, 20), break_long_words=False, break_on_hyphens=False)
    return parts or [line]


def examine(where: Where) -> Iterator[Finding]:
    """Everything there is to check; what cannot be checked without a connection is left out."""
    from headway_cli.connecting import connect

    yield Finding("headway", Verdict.GOOD, f"{__version__}, Python {platform.python_version()}")
    try:
        client = connect(where)
    except Problem as problem:
        yield Finding("kubeconfig", Verdict.BAD, _whole(problem), _first(problem))
        return
    api = client.api
    yield Finding("kubeconfig", Verdict.GOOD, f"{api.because}; context {api.context or '-'}")
    try:
        version = api.request("GET", "/version", doing="ask for the version")
    except ClientError as error:
        silent = problem_of(error, where)
        local = Path(api.because.partition(",")[0]) == local_kubeconfig()
        elsewhere = f"see whether {api.server} runs and can be reached"
        yield Finding(
            "connection",
            Verdict.BAD,
            _whole(silent),
            "headway cluster up" if local else elsewhere,
        )
        return
    yield _kubernetes(version, api.server)
    install = f"headway install {Where(None, where.context, where.kubeconfig).flags()}".rstrip()
    yield _resource(client, install)
    yield from _operator(client, install)
    yield from _permissions(client)
    yield from _nodes(client)


def _kubernetes(version: dict[str, Any], server: str) -> Finding:
    from headway_cli.installing import NEW_ENOUGH, is_too_old

    told = str(version.get("gitVersion", "?"))
    text = f"Kubernetes {told} at {server}"
    if is_too_old(version):
        return Finding("connection", Verdict.BAD, text, f"use {NEW_ENOUGH}")
    return Finding("connection", Verdict.GOOD, text)


def _resource(client: OperationsClient, install: str) -> Finding:
    path = f"/apis/{names.API_VERSION}"
    try:
        found = client.api.request("GET", path, doing="look for TrainingOperations")
    except (NotInstalled, NotFound):
        text = "the cluster does not know TrainingOperations"
        return Finding("resource", Verdict.BAD, text, install)
    except ClientError as error:
        return Finding("resource", Verdict.BAD, error.message)
    served = [entry["name"] for entry in found.get("resources") or ()]
    if names.PLURAL not in served:
        return Finding("resource", Verdict.BAD, f"{path} serves {served}", install)
    return Finding("resource", Verdict.GOOD, f"TrainingOperation {names.API_VERSION}")


def _operator(client: OperationsClient, install: str) -> Iterator[Finding]:
    from headway_cli.installing import is_available, operator

    try:
        found = operator(client.api)
    except ClientError as error:
        # Who may only use Headway need not see where it runs.
        yield Finding("operator", Verdict.WARNING, f"cannot be seen: {error.message}")
        return
    if found is None:
        yield Finding("operator", Verdict.BAD, "there is none in any namespace", install)
        return
    (container, *_) = found["spec"]["template"]["spec"]["containers"]
    image = str(container["image"])
    if not is_available(found):
        command = f"kubectl -n {found['metadata']['namespace']} describe pods"
        yield Finding("operator", Verdict.BAD, f"{image} is not available", command)
    elif _version(found) != __version__:
        text = f"{image} runs; this headway is {__version__}"
        yield Finding("operator", Verdict.WARNING, text, install)
    else:
        yield Finding("operator", Verdict.GOOD, f"{image} is at work")
    yield Finding("trainer", Verdict.GOOD, f"{_trainer_image(container)} is the default image")


def _version(deployment: dict[str, Any]) -> str:
    """The version that its manifests were made for; an image may have any tag, or a digest."""
    labels = deployment["metadata"].get("labels") or {}
    return str(labels.get("app.kubernetes.io/version", ""))


def _trainer_image(container: dict[str, Any]) -> str:
    """As the operator reads its flags: the last one counts."""
    arguments = [*(container.get("command") or ()), *(container.get("args") or ())][::-1]
    for value, flag in itertools.pairwise(arguments):
        if flag == "--trainer-image":
            return str(value)
    for argument in arguments:
        if str(argument).startswith("--trainer-image="):
            return str(argument).partition("=")[2]
    for variable in container.get("env") or ():
        if "TRAINER_IMAGE" in variable["name"] and variable.get("value"):
            return str(variable["value"])
    return names.default_trainer_image(__version__)


_NEEDED = (
    ("create", names.GROUP, names.PLURAL, "", "start runs"),
    ("list", names.GROUP, names.PLURAL, "", "list runs"),
    ("watch", names.GROUP, names.PLURAL, "", "follow runs"),
    ("patch", names.GROUP, names.PLURAL, "", "cancel runs"),
    ("delete", names.GROUP, names.PLURAL, "", "delete runs"),
    ("list", "", "pods", "", "find a run's pods"),
    ("get", "", "pods", "log", "read logs"),
)


def _permissions(client: OperationsClient) -> Iterator[Finding]:
    """What the person may do in the namespace, as the API server itself says."""
    missing = []
    for verb, group, resource, subresource, purpose in _NEEDED:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {
                "resourceAttributes": {
                    "namespace": client.namespace,
                    "verb": verb,
                    "group": group,
                    "resource": resource,
                    "subresource": subresource,
                }
            },
        }
        try:
            answer = client.api.request(
                "POST",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                body=review,
                doing="ask what you may do",
            )
        except ClientError as error:
            yield Finding("permissions", Verdict.WARNING, error.message)
            return
        if not (answer.get("status") or {}).get("allowed"):
            missing.append(purpose)
    if missing:
        yield Finding(
            "permissions",
            Verdict.BAD,
            f"in namespace {client.namespace} you may not {', '.join(missing)}",
            "ask for the ClusterRole headway-edit (or edit) in that namespace",
        )
    else:
        yield Finding("permissions", Verdict.GOOD, f"all there are in {client.namespace}")


def _nodes(client: OperationsClient) -> Iterator[Finding]:
    try:
        found = client.api.request("GET", "/api/v1/nodes", doing="list nodes")
    except ClientError:
        return
    ready = [node["metadata"]["name"] for node in found.get("items") or () if _is_ready(node)]
    if not ready:
        yield Finding("nodes", Verdict.BAD, "none is ready: nothing can run", "kubectl get nodes")
    else:
        shown = ", ".join(ready[:3]) + (f" (+{len(ready) - 3} more)" if len(ready) > 3 else "")
        yield Finding("nodes", Verdict.GOOD, f"{len(ready)} ready: {shown}")


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _whole(problem: Problem) -> str:
    return "\n".join(part for part in (problem.what, problem.why) if part)


def _first(problem: Problem) -> str:
    return problem.todo[0] if problem.todo else ""
