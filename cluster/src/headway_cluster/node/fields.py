"""What the process node does with every field of a pod: one table, used and documented.

``check`` is what the node asks before it takes a pod; ``python -m headway_cluster.node.fields``
prints the table of ``docs/process-node.md``. A path names a field and, unless there are rules
below it, everything under it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from headway_api import names

Json = Mapping[str, Any]


class Treatment(StrEnum):
    """What becomes of a field."""

    HONOURED = "honoured"
    ACCEPTED = "accepted"
    WARNED = "accepted with a warning"
    REFUSED = "refused"


@dataclass(frozen=True)
class Rule:
    """One line of the table.

    Attributes:
        path: the field, ``[]`` after a list.
        treatment: what becomes of it.
        note: what that means; for a person.
        unless: values that ask for nothing special, so that they get neither warning nor refusal.
    """

    path: str
    treatment: Treatment
    note: str = ""
    unless: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Finding:
    """A field of a pod that is not simply honoured: where it stands, and why."""

    path: str
    note: str


@dataclass(frozen=True)
class Findings:
    """What a pod asks for that this node warns about or refuses."""

    warned: tuple[Finding, ...]
    refused: tuple[Finding, ...]


_HONOURED, _ACCEPTED = Treatment.HONOURED, Treatment.ACCEPTED
_WARNED, _REFUSED = Treatment.WARNED, Treatment.REFUSED

_SCHEDULER = "By the scheduler, before the pod comes here."
_CONTROL_PLANE = "By the control plane."
_SAME_USER = "Processes run as the user that the agent runs as."
_SAME_USER_OURS = (
    f"{_SAME_USER} That of Headway's own images, {names.IMAGE_USER}, is accepted without a warning."
)
_OURS = (names.IMAGE_USER,)
_NO_SANDBOX = "There is no sandbox to set this in."
_NO_SANDBOX_USUAL = f"{_NO_SANDBOX} RuntimeDefault is accepted without a warning."
_USUAL_SECCOMP = ({"type": "RuntimeDefault"},)
_NOTHING_PULLED = "Nothing is pulled: an image is a configured environment or it is not available."
_NO_MOUNT = "This node mounts no file systems; use a claim of the class headway.dev/local."
_AT_START = "Read when the pod starts; later changes of the object are not seen."

_POD: tuple[Rule, ...] = (
    Rule("metadata", _HONOURED, _CONTROL_PLANE),
    Rule("status", _HONOURED, "Written by this node."),
    Rule("spec.activeDeadlineSeconds", _HONOURED),
    Rule("spec.affinity", _HONOURED, _SCHEDULER),
    Rule("spec.automountServiceAccountToken", _HONOURED, _CONTROL_PLANE),
    Rule("spec.dnsConfig", _WARNED, "Names are resolved as the host resolves them."),
    Rule(
        "spec.dnsPolicy",
        _WARNED,
        "Names are resolved as the host resolves them; there is no cluster DNS. The usual policies"
        " are accepted without a warning.",
        ("ClusterFirst", "ClusterFirstWithHostNet", "Default"),
    ),
    Rule(
        "spec.enableServiceLinks",
        _ACCEPTED,
        "Only KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are set.",
    ),
    Rule("spec.ephemeralContainers", _WARNED, "They are never started."),
    Rule("spec.evictionResponders", _HONOURED, _CONTROL_PLANE),
    Rule("spec.hostAliases", _WARNED, "The host's own hosts file stays as it is."),
    Rule("spec.hostIPC", _HONOURED, "It is always so here."),
    Rule("spec.hostNetwork", _HONOURED, "The pod's address is then the node's."),
    Rule("spec.hostPID", _HONOURED, "It is always so here."),
    Rule("spec.hostUsers", _WARNED, "There are no user namespaces here.", (True,)),
    Rule("spec.hostname", _WARNED, "Only HOSTNAME says it; the system's name is the host's."),
    Rule("spec.hostnameOverride", _WARNED, "Only HOSTNAME says it."),
    Rule("spec.imagePullSecrets", _ACCEPTED, _NOTHING_PULLED),
    Rule("spec.nodeName", _HONOURED),
    Rule("spec.nodeSelector", _HONOURED, _SCHEDULER),
    Rule("spec.os", _REFUSED, "Only Linux.", ({"name": "linux"},)),
    Rule("spec.overhead", _HONOURED, _SCHEDULER),
    Rule("spec.preemptionPolicy", _HONOURED, _SCHEDULER),
    Rule("spec.priority", _HONOURED, _SCHEDULER),
    Rule("spec.priorityClassName", _HONOURED, _SCHEDULER),
    Rule("spec.readinessGates", _HONOURED),
    Rule("spec.resourceClaims", _REFUSED, "Devices are not allocated here."),
    Rule("spec.resources", _WARNED, "Only limits of containers are enforced."),
    Rule("spec.restartPolicy", _HONOURED, "With the same back-off as everywhere."),
    Rule("spec.runtimeClassName", _REFUSED, "There is no container runtime here."),
    Rule("spec.schedulerName", _HONOURED, _CONTROL_PLANE),
    Rule("spec.schedulingGates", _HONOURED, _SCHEDULER),
    Rule("spec.schedulingGroup", _HONOURED, _SCHEDULER),
    Rule("spec.serviceAccount", _HONOURED),
    Rule("spec.serviceAccountName", _HONOURED),
    Rule("spec.setHostnameAsFQDN", _WARNED, "The system's name is the host's."),
    Rule("spec.shareProcessNamespace", _HONOURED, "It is always so here."),
    Rule(
        "spec.subdomain",
        _WARNED,
        "There is no cluster DNS; the workers of a run get another MASTER_ADDR and MASTER_PORT.",
    ),
    Rule("spec.terminationGracePeriodSeconds", _HONOURED),
    Rule("spec.tolerations", _HONOURED, _SCHEDULER),
    Rule("spec.topologySpreadConstraints", _HONOURED, _SCHEDULER),
)

_POD_SECURITY: tuple[Rule, ...] = (
    Rule("appArmorProfile", _WARNED, _NO_SANDBOX),
    Rule("fsGroup", _WARNED, _SAME_USER_OURS, _OURS),
    Rule("fsGroupChangePolicy", _ACCEPTED, _SAME_USER),
    Rule("runAsGroup", _WARNED, _SAME_USER_OURS, _OURS),
    Rule("runAsNonRoot", _ACCEPTED, _SAME_USER),
    Rule("runAsUser", _WARNED, _SAME_USER_OURS, _OURS),
    Rule("seLinuxChangePolicy", _ACCEPTED, _NO_SANDBOX),
    Rule("seLinuxOptions", _WARNED, _NO_SANDBOX),
    Rule("seccompProfile", _WARNED, _NO_SANDBOX_USUAL, _USUAL_SECCOMP),
    Rule("supplementalGroups", _WARNED, _SAME_USER),
    Rule("supplementalGroupsPolicy", _ACCEPTED, _SAME_USER),
    Rule("sysctls", _REFUSED, "They would change the host."),
    Rule("windowsOptions", _REFUSED, "Only Linux."),
)

_CONTAINER: tuple[Rule, ...] = (
    Rule("args", _HONOURED, "Mount paths in it are translated."),
    Rule("command", _HONOURED, "Mount paths in it are translated."),
    Rule("env[].name", _HONOURED),
    Rule("env[].value", _HONOURED, "Mount paths in it are translated."),
    Rule("env[].valueFrom.configMapKeyRef", _HONOURED),
    Rule("env[].valueFrom.fieldRef", _HONOURED),
    Rule("env[].valueFrom.fileKeyRef", _REFUSED, "Not supported by this node."),
    Rule("env[].valueFrom.resourceFieldRef", _HONOURED),
    Rule("env[].valueFrom.secretKeyRef", _HONOURED),
    Rule("envFrom", _HONOURED),
    Rule("image", _HONOURED, "It must be one that is configured; see above."),
    Rule("imagePullPolicy", _ACCEPTED, _NOTHING_PULLED),
    Rule("lifecycle", _REFUSED, "Hooks and other stop signals than SIGTERM are not supported."),
    Rule("name", _HONOURED),
    Rule(
        "ports",
        _HONOURED,
        "Names are for probes. Nothing is forwarded: a process listens on the address it chooses,"
        " so use the pod's own, status.podIP.",
    ),
    Rule("resizePolicy", _ACCEPTED, "A new memory limit holds from the next start."),
    Rule("resources.claims", _REFUSED, "Devices are not allocated here."),
    Rule(
        "resources.limits",
        _HONOURED,
        "Memory is measured twice a second over all processes of the container, and one that uses"
        " more is OOMKilled. Other resources are counted by the scheduler.",
    ),
    Rule("resources.limits.cpu", _WARNED, "Processes are not throttled."),
    Rule("resources.limits.ephemeral-storage", _WARNED, "Disk use is not measured."),
    Rule("resources.requests", _HONOURED, _SCHEDULER),
    Rule("restartPolicyRules", _REFUSED, "Not supported by this node."),
    Rule("stdin", _WARNED, "Standard input is empty."),
    Rule("stdinOnce", _WARNED, "Standard input is empty."),
    Rule(
        "terminationMessagePath",
        _HONOURED,
        "HEADWAY_TERMINATION_MESSAGE_PATH says where the file really is; mentions are translated.",
    ),
    Rule("terminationMessagePolicy", _HONOURED),
    Rule("tty", _WARNED, "There is no terminal."),
    Rule("volumeDevices", _REFUSED, "There are no block devices here."),
    Rule("volumeMounts[].bindMountOptions", _WARNED, "Nothing is mounted: paths are translated."),
    Rule(
        "volumeMounts[].mountPath",
        _HONOURED,
        "By translation; see above. A volume at /tmp stays empty: that folder is the host's.",
    ),
    Rule(
        "volumeMounts[].mountPropagation",
        _WARNED,
        "Nothing is mounted: paths are translated.",
        ("None",),
    ),
    Rule("volumeMounts[].name", _HONOURED),
    Rule("volumeMounts[].readOnly", _ACCEPTED, "Nothing keeps a process from writing."),
    Rule(
        "volumeMounts[].recursiveReadOnly",
        _WARNED,
        "Nothing keeps a process from writing.",
        ("Disabled",),
    ),
    Rule("volumeMounts[].subPath", _HONOURED),
    Rule("volumeMounts[].subPathExpr", _HONOURED),
    Rule("workingDir", _HONOURED, "It must exist; mount paths in it are translated."),
)

_PROBE: tuple[Rule, ...] = (
    Rule("exec", _HONOURED, "In the container's environment."),
    Rule("failureThreshold", _HONOURED),
    Rule("grpc", _REFUSED, "Use httpGet, tcpSocket or exec."),
    Rule("httpGet", _HONOURED),
    Rule("initialDelaySeconds", _HONOURED),
    Rule("periodSeconds", _HONOURED),
    Rule("successThreshold", _HONOURED),
    Rule("tcpSocket", _HONOURED),
    Rule("terminationGracePeriodSeconds", _HONOURED),
    Rule("timeoutSeconds", _HONOURED),
)

_SECURITY: tuple[Rule, ...] = (
    Rule("allowPrivilegeEscalation", _WARNED, _NO_SANDBOX),
    Rule("appArmorProfile", _WARNED, _NO_SANDBOX),
    Rule("capabilities.add", _REFUSED, "This node gives no more rights than its own."),
    Rule("capabilities.drop", _ACCEPTED, _NO_SANDBOX),
    Rule("privileged", _REFUSED, "This node gives no more rights than its own."),
    Rule("procMount", _WARNED, _NO_SANDBOX, ("Default",)),
    Rule("readOnlyRootFilesystem", _ACCEPTED, _NO_SANDBOX),
    Rule("runAsGroup", _WARNED, _SAME_USER_OURS, _OURS),
    Rule("runAsNonRoot", _ACCEPTED, _SAME_USER),
    Rule("runAsUser", _WARNED, _SAME_USER_OURS, _OURS),
    Rule("seLinuxOptions", _WARNED, _NO_SANDBOX),
    Rule("seccompProfile", _WARNED, _NO_SANDBOX_USUAL, _USUAL_SECCOMP),
    Rule("windowsOptions", _REFUSED, "Only Linux."),
)

_ITEM_USER = Rule("items[].user", _WARNED, "Files belong to the user the agent runs as.")
_FILES: tuple[Rule, ...] = (
    Rule("items[].key", _HONOURED),
    Rule("items[].mode", _HONOURED, "The owner can read in any case."),
    Rule("items[].path", _HONOURED),
    _ITEM_USER,
)
_DOWNWARD: tuple[Rule, ...] = (
    Rule("items[].fieldRef", _HONOURED, _AT_START),
    Rule("items[].mode", _HONOURED, "The owner can read in any case."),
    Rule("items[].path", _HONOURED),
    Rule("items[].resourceFieldRef", _HONOURED),
    _ITEM_USER,
)
_FOREIGN_VOLUMES = (
    "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "ephemeral", "fc",
    "flexVolume", "flocker", "gcePersistentDisk", "gitRepo", "glusterfs", "image", "iscsi", "nfs",
    "photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos",
    "vsphereVolume",
)  # fmt: skip


def _below(prefix: str, *groups: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(
        Rule(f"{prefix}.{rule.path}", rule.treatment, rule.note, rule.unless)
        for group in groups
        for rule in group
    )


_VOLUME: tuple[Rule, ...] = (
    Rule("name", _HONOURED),
    *_below("configMap", _FILES),
    Rule("configMap.defaultMode", _HONOURED),
    Rule("configMap.defaultUser", _WARNED, "Files belong to the user the agent runs as."),
    Rule("configMap.name", _HONOURED, _AT_START),
    Rule("configMap.optional", _HONOURED),
    Rule("downwardAPI.defaultMode", _HONOURED),
    Rule("downwardAPI.defaultUser", _WARNED, "Files belong to the user the agent runs as."),
    *_below("downwardAPI", _DOWNWARD),
    Rule("emptyDir.medium", _ACCEPTED, "Memory, too, is a folder on the disk."),
    Rule("emptyDir.mode", _WARNED, "Folders belong to the user the agent runs as."),
    Rule("emptyDir.sizeLimit", _ACCEPTED, "Disk use is not measured."),
    Rule("hostPath", _HONOURED),
    Rule("persistentVolumeClaim.claimName", _HONOURED, "If its volume is local or hostPath."),
    Rule("persistentVolumeClaim.readOnly", _ACCEPTED, "Nothing keeps a process from writing."),
    Rule("projected.defaultMode", _HONOURED),
    Rule("projected.defaultUser", _WARNED, "Files belong to the user the agent runs as."),
    Rule("projected.sources[].clusterTrustBundle", _REFUSED, "Not supported by this node."),
    *_below("projected.sources[].configMap", _FILES),
    Rule("projected.sources[].configMap.name", _HONOURED, _AT_START),
    Rule("projected.sources[].configMap.optional", _HONOURED),
    *_below("projected.sources[].downwardAPI", _DOWNWARD),
    Rule("projected.sources[].podCertificate", _REFUSED, "Not supported by this node."),
    *_below("projected.sources[].secret", _FILES),
    Rule("projected.sources[].secret.name", _HONOURED, _AT_START),
    Rule("projected.sources[].secret.optional", _HONOURED),
    Rule("projected.sources[].serviceAccountToken.audience", _HONOURED),
    Rule(
        "projected.sources[].serviceAccountToken.expirationSeconds", _HONOURED, "Renewed in time."
    ),
    Rule("projected.sources[].serviceAccountToken.path", _HONOURED),
    Rule("projected.sources[].serviceAccountToken.user", _WARNED, _SAME_USER),
    *_below("secret", _FILES),
    Rule("secret.defaultMode", _HONOURED),
    Rule("secret.defaultUser", _WARNED, "Files belong to the user the agent runs as."),
    Rule("secret.optional", _HONOURED),
    Rule("secret.secretName", _HONOURED, _AT_START),
    *(Rule(kind, _REFUSED, _NO_MOUNT) for kind in _FOREIGN_VOLUMES),
)


def _containers(prefix: str) -> tuple[Rule, ...]:
    probes = ("livenessProbe", "readinessProbe", "startupProbe")
    return (
        *_below(prefix, _CONTAINER),
        *(rule for probe in probes for rule in _below(f"{prefix}.{probe}", _PROBE)),
        *_below(f"{prefix}.securityContext", _SECURITY),
    )


RULES: tuple[Rule, ...] = (
    *_POD,
    *_below("spec.securityContext", _POD_SECURITY),
    *_below("spec.volumes[]", _VOLUME),
    *_containers("spec.containers[]"),
    Rule("spec.containers[].restartPolicy", _REFUSED, "Set it for the pod."),
    *_containers("spec.initContainers[]"),
    Rule("spec.initContainers[].restartPolicy", _HONOURED, "Always makes it a sidecar."),
)
"""The table. It covers every field of the Pod schema, which a test checks."""


def check(pod: Json) -> Findings:
    """What a pod asks for that this node warns about or refuses."""
    warned: dict[str, Finding] = {}
    refused: dict[str, Finding] = {}
    for rule in RULES:
        if rule.treatment in (_WARNED, _REFUSED):
            into = warned if rule.treatment is _WARNED else refused
            for path, value in _values(pod, rule.path.split("."), ""):
                if _asks(value, rule):
                    into.setdefault(path, Finding(path, rule.note))
    return Findings(tuple(warned.values()), tuple(refused.values()))


def _asks(value: Any, rule: Rule) -> bool:
    """Whether a value asks for anything: what is empty or switched off does not, but 0 does."""
    if True in rule.unless:
        return value is False  # a switch that is on by default
    return value not in (None, "", [], {}) and value is not False and value not in rule.unless


def _values(part: Any, steps: list[str], path: str) -> Iterator[tuple[str, Any]]:
    """Every value at a path, with the path it really has: list items by name, else by number."""
    if not steps:
        yield path, part
        return
    if not isinstance(part, Mapping):
        return
    step, *rest = steps
    key = step.removesuffix("[]")
    if key not in part:
        return
    here = f"{path}.{key}" if path else key
    if step == key:
        yield from _values(part[key], rest, here)
        return
    for number, item in enumerate(part[key] or ()):
        name = item.get("name", number) if isinstance(item, Mapping) else number
        yield from _values(item, rest, f"{here}[{name}]")


def markdown() -> str:
    """The table for people. Init containers have the same lines as containers and are left out."""
    lines = ["| field | treatment | what that means |", "|---|---|---|"]
    for rule in sorted(RULES, key=lambda rule: rule.path):
        only_once = rule.path.endswith(".restartPolicy")
        if rule.path.startswith("spec.initContainers[]") and not only_once:
            continue
        lines.append(f"| `{rule.path}` | {rule.treatment} | {rule.note} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")  # noqa: T201 - a program that prints
