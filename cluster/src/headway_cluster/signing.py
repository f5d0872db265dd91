"""Certificates that a cluster signs: a request, somebody's approval, and the certificate."""

from __future__ import annotations

import base64
import ipaddress
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headway_cluster.errors import ClusterError
from headway_cluster.node.api import ApiError
from headway_cluster.pki import KeyPair

CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING = "kubernetes.io/kubelet-serving"
_REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
_SIGNED_WITHIN = 60.0
_APPROVED_WITHIN = 1800.0
_POLL = 0.5
_TRIES = 5
_KINDS = {CLIENT: "client auth", SERVING: "server auth"}
_STEMS = {CLIENT: "client", SERVING: "serving"}

Json = dict[str, Any]
Say = Callable[[str], None]


class Asks(Protocol):
    """Requests to an API server; a refusal is an ``ApiError``."""

    def request(self, method: str, path: str, body: Json | None = None) -> Json:
        """One request."""
        ...


@dataclass(frozen=True)
class Wanted:
    """A certificate for a node.

    Attributes:
        node: the node.
        signer: who signs it, ``CLIENT`` or ``SERVING``.
        addresses: IP addresses that it serves.
    """

    node: str
    signer: str
    addresses: Sequence[str] = ()


def signed(
    wanted: Wanted, folder: Path, requester: Asks, approver: Asks | None, say: Say
) -> KeyPair:
    """A key, and the certificate that the cluster gives for it.

    Where the approver may not approve, somebody else has to: that is said, and waited for.

    Args:
        wanted: what for.
        folder: where the files go; the key never leaves it.
        requester: as whom it is asked for.
        approver: as whom it is approved; None where the cluster does it by itself.
        say: told what is waited for.

    Raises:
        ClusterError: it was denied, or nobody approved or signed it in time.
    """
    stem = _STEMS[wanted.signer]
    files = KeyPair(folder / f"{stem}.crt", folder / f"{stem}.key")
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"{wanted.node}-{stem}-{secrets.token_hex(4)}"
    requester.request(
        "POST",
        _REQUESTS,
        {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": {
                "request": base64.b64encode(_request(wanted, key)).decode(),
                "signerName": wanted.signer,
                "usages": ["digital signature", _KINDS[wanted.signer]],
            },
        },
    )
    try:
        alone = approver is not None and not _approve(name, approver, say)
        certificate = _certificate(name, requester, _APPROVED_WITHIN if alone else _SIGNED_WITHIN)
    finally:
        if approver is not None:
            _forget(name, approver)
    files.key.unlink(missing_ok=True)
    files.key.touch(mode=0o600)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    files.certificate.write_bytes(certificate)
    return files


def life(folder: Path, signer: str) -> tuple[datetime, datetime]:
    """From when until when the certificate in a folder is valid that a signer has given."""
    data = (folder / f"{_STEMS[signer]}.crt").read_bytes()
    certificate = x509.load_pem_x509_certificate(data)
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def _request(wanted: Wanted, key: ec.EllipticCurvePrivateKey) -> bytes:
    """As kubelets ask: the node's own name, in the group of nodes."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{wanted.node}"),
        ]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if wanted.addresses:
        served = [x509.IPAddress(ipaddress.ip_address(a)) for a in wanted.addresses]
        builder = builder.add_extension(x509.SubjectAlternativeName(served), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _approve(name: str, approver: Asks, say: Say) -> bool:
    """Approve a request; False where that is not allowed."""
    condition = {
        "type": "Approved",
        "status": "True",
        "reason": "HeadwayHostJoin",
        "message": "approved by whoever joined the host",
    }
    for left in reversed(range(_TRIES)):
        try:
            asked = approver.request("GET", f"{_REQUESTS}/{name}")
            status = asked.setdefault("status", {})
            if any(c["type"] == "Approved" for c in status.get("conditions") or ()):
                return True  # the cluster has done it by itself
            status["conditions"] = [condition]
            approver.request("PUT", f"{_REQUESTS}/{name}/approval", asked)
        except ApiError as error:
            if error.code == HTTPStatus.FORBIDDEN:
                break
            if not left:
                raise ClusterError(f"{name} could not be approved: {error}") from error
            time.sleep(_POLL)  # somebody else has changed it meanwhile
        else:
            return True
    say(
        "you may not approve the host's certificate; somebody who may has to type:\n"
        f"    kubectl certificate approve {name}"
    )
    return False


def _certificate(name: str, requester: Asks, within: float) -> bytes:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        found = requester.request("GET", f"{_REQUESTS}/{name}").get("status") or {}
        for condition in found.get("conditions") or ():
            if condition["type"] in ("Denied", "Failed"):
                why = condition.get("message") or condition.get("reason") or ""
                raise ClusterError(f"{name} was {condition['type'].lower()}: {why}")
        if encoded := found.get("certificate"):
            return base64.b64decode(encoded)
        time.sleep(_POLL)
    raise ClusterError(f"{name} was not approved and signed within {within:.0f} s; join again")


def _forget(name: str, approver: Asks) -> None:
    try:
        approver.request("DELETE", f"{_REQUESTS}/{name}")
    except ApiError:
        return  # Kubernetes removes it by itself after an hour
