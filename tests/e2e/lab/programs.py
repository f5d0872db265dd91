"""The programs of a node: those of the product's own local cluster, and what is missing to them."""

from __future__ import annotations

from pathlib import Path

from commands import say
from headway_cluster import binaries
from headway_cluster.binaries.toolsets import KUBERNETES_VERSION, Toolset, stamped
from headway_cluster.home import Home
from places import COREDNS_VERSION

_MODULES = Path(__file__).resolve().parent / "modules"
_NODE = Toolset(
    module="node",
    title=f"the kubelet, kubeadm and kube-proxy {KUBERNETES_VERSION}",
    folder=f"lab/programs/{KUBERNETES_VERSION}",
    programs=("kubelet", "kubeadm", "kube-proxy"),
    linker=stamped(KUBERNETES_VERSION),
    beside=_MODULES,
)
_COREDNS = Toolset(
    module="coredns",
    title=f"CoreDNS {COREDNS_VERSION}",
    folder=f"lab/programs/coredns-{COREDNS_VERSION}",
    programs=("coredns",),
    linker="-s -w",
    beside=_MODULES,
)
_OF_THE_PRODUCT = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "kind",
)


def ensure(home: Home) -> dict[str, Path]:
    """All of them as files, by name; built once, then cached."""
    found = binaries.ensure(home, _OF_THE_PRODUCT, say)
    for toolset in (_NODE, _COREDNS):
        found |= binaries.ensure_toolset(home, toolset, say)
    return found
