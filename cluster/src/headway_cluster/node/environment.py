"""The environment of a container."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from headway_cluster.node.pods import Container, Pod
from headway_cluster.node.quantities import in_units_of, parse_quantity

_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")
STANDARD_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class ConfigurationError(Exception):
    """A container cannot be started because something that its spec names is missing.

    It is tried again: what is missing may still be created. The message is the one that a person
    reads in the container's status.
    """


class Sources(Protocol):
    """Where values come from that stand in other objects. None: there is no such object."""

    def config_map(self, name: str) -> Mapping[str, str] | None:
        """The ``data`` of a config map in the pod's namespace."""

    def secret(self, name: str) -> Mapping[str, str] | None:
        """The decoded ``data`` of a secret in the pod's namespace."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by its value; ``$$`` is a dollar; what is unknown stays as it is.

    >>> expand("$(A) $$(A) $(B)", {"A": "1"})
    '1 $(A) $(B)'
    """

    def replacement(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return variables.get(match[2], match[0])

    return _REFERENCE.sub(replacement, text)


def resolve(
    pod: Pod, container: Container, base: Mapping[str, str], sources: Sources, facts: Facts
) -> dict[str, str]:
    """The variables of ``envFrom`` and ``env`` over those of the node and the image.

    Args:
        pod: the pod.
        container: one of its containers.
        base: what is set before; ``$(NAME)`` may refer to it.
        sources: config maps and secrets.
        facts: what the downward API tells.

    Raises:
        ConfigurationError: something that is not optional is missing.
    """
    variables = dict(base)
    for source in container.env_from:
        prefix = source.get("prefix") or ""
        for key, value in _whole(pod, source, sources).items():
            variables[prefix + key] = value
    for entry in container.env:
        value_from = entry.get("valueFrom")
        if not value_from:
            variables[entry["name"]] = expand(entry.get("value") or "", variables)
            continue
        found = _one(pod, container, value_from, sources, facts)
        if found is not None:
            variables[entry["name"]] = found
    return variables


def _whole(pod: Pod, source: Mapping[str, Any], sources: Sources) -> Mapping[str, str]:
    for kind, label, read in _kinds(sources, "Ref"):
        if reference := source.get(kind):
            found = read(reference["name"])
            if found is None and not reference.get("optional"):
                raise ConfigurationError(_missing(label, pod, reference["name"]))
            return found or {}
    return {}


def _one(
    pod: Pod, container: Container, source: Mapping[str, Any], sources: Sources, facts: Facts
) -> str | None:
    for kind, label, read in _kinds(sources, "KeyRef"):
        if reference := source.get(kind):
            name, key = reference["name"], reference["key"]
            found = read(name)
            if found is not None and key in found:
                return found[key]
            if reference.get("optional"):
                return None
            if found is None:
                raise ConfigurationError(_missing(label, pod, name))
            raise ConfigurationError(f"couldn't find key {key} in {label} {pod.namespace}/{name}")
    if field := source.get("fieldRef"):
        return facts.field(field["fieldPath"])
    if resource := source.get("resourceFieldRef"):
        return facts.resource(container, resource["resource"], str(resource.get("divisor") or "0"))
    raise ConfigurationError(f"this node cannot read env from {', '.join(source)}")


def _kinds(
    sources: Sources, suffix: str
) -> Iterable[tuple[str, str, Callable[[str], Mapping[str, str] | None]]]:
    return (
        (f"configMap{suffix}", "ConfigMap", sources.config_map),
        (f"secret{suffix}", "Secret", sources.secret),
    )


def _missing(label: str, pod: Pod, name: str) -> str:
    return f'{label.lower()} "{name}" not found in namespace {pod.namespace}'


class Facts:
    """What the downward API tells of a pod, as text.

    Args:
        pod: the pod.
        pod_ip: its address.
        host_ip: the node's address.
        node_name: the node's name.
        cpu: cores of the node, told where a container has no limit.
        memory: bytes of the node's memory, told likewise.
    """

    def __init__(
        self, pod: Pod, *, pod_ip: str, host_ip: str, node_name: str, cpu: int, memory: int
    ) -> None:
        self._pod = pod
        self._whole = {"cpu": cpu * 1000, "memory": memory * 1000, "ephemeral-storage": 0}
        self._fields = {
            "metadata.name": pod.name,
            "metadata.namespace": pod.namespace,
            "metadata.uid": pod.uid,
            "metadata.labels": _listing(pod.labels),
            "metadata.annotations": _listing(pod.annotations),
            "spec.nodeName": node_name,
            "spec.serviceAccountName": pod.service_account,
            "status.hostIP": host_ip,
            "status.hostIPs": host_ip,
            "status.podIP": pod_ip,
            "status.podIPs": pod_ip,
        }

    def field(self, path: str) -> str:
        """The value of a ``fieldRef``."""
        known = self._fields.get(path)
        if known is not None:
            return known
        for kind, values in (("labels", self._pod.labels), ("annotations", self._pod.annotations)):
            if path.startswith(f"metadata.{kind}['") and path.endswith("']"):
                return values.get(path[len(f"metadata.{kind}['") : -2], "")
        raise ConfigurationError(f"unsupported fieldPath: {path}")

    def resource(self, container: Container, resource: str, divisor: str) -> str:
        """The value of a ``resourceFieldRef``: rounded up, in units of the divisor.

        A limit that is not set is told as all that the node has.
        """
        kind, _, name = resource.partition(".")
        values = container.limits if kind == "limits" else container.requests
        if name in values:
            thousandths = parse_quantity(values[name])
        else:
            thousandths = self._whole.get(name, 0) if kind == "limits" else 0
        return str(in_units_of(thousandths, divisor))


def _listing(values: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={json.dumps(value)}" for key, value in sorted(values.items()))
