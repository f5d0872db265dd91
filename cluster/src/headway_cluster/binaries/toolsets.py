"""Which programs come from which Go module of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable

KUBERNETES_VERSION = "v1.37.2"
HELM_VERSION = "v4"
KIND_VERSION = "v0.33.0"
_VERSION_PACKAGE = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Toolset:
    """Programs that one ``go build`` makes.

    Attributes:
        module: folder with ``go.mod`` and ``go.sum``.
        title: for people.
        folder: below the cache, where the programs go.
        programs: their names.
        linker: flags of the Go linker.
        renamed: names that the Go tool gives them, where those are others.
        beside: where the module's folder is; left out, beside this file.
    """

    module: str
    title: str
    folder: str
    programs: tuple[str, ...]
    linker: str
    renamed: Mapping[str, str] = field(default_factory=dict)
    beside: Traversable = field(default_factory=lambda: resources.files(__package__))


def stamped(version: str) -> str:
    """Linker flags by which Kubernetes' programs know their version."""
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return " ".join(
        ["-s -w", *(f"-X {_VERSION_PACKAGE}.{key}={value}" for key, value in values.items())]
    )


TOOLSETS = (
    Toolset(
        module="controlplane",
        title=f"Kubernetes {KUBERNETES_VERSION} and etcd",
        folder=f"kubernetes/{KUBERNETES_VERSION}",
        programs=(
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubectl",
        ),
        linker=stamped(KUBERNETES_VERSION),
        renamed={"server": "etcd"},
    ),
    Toolset(
        module="helm",
        title="Helm",
        folder=f"helm/{HELM_VERSION}",
        programs=("helm",),
        linker="-s -w",
    ),
    Toolset(
        module="kind",
        title=f"kind {KIND_VERSION}",
        folder=f"kind/{KIND_VERSION}",
        programs=("kind",),
        linker="-s -w",
    ),
)


def toolset_of(program: str) -> Toolset:
    """The toolset that makes a program.

    Raises:
        KeyError: none does.
    """
    for toolset in TOOLSETS:
        if program in toolset.programs:
            return toolset
    raise KeyError(program)
