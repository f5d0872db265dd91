"""The certificates of a local cluster: one authority for the cluster, one for etcd.

Private keys are readable by their owner alone. Certificates of components are made anew at every
start; the authority and the key that signs ServiceAccount tokens stay.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from headway_cluster.writing import PRIVATE, write_whole

_AUTHORITY_DAYS = 3650
_LEAF_DAYS = 365
_SKEW = timedelta(minutes=5)
_PUBLIC = 0o644


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """Signs certificates."""

    files: KeyPair
    _certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey

    @classmethod
    def load_or_make(cls, folder: Path, name: str) -> Authority:
        """The authority in ``folder``; a new one where there is none."""
        files = KeyPair(folder / f"{name}.crt", folder / f"{name}.key")
        if not (files.certificate.exists() and files.key.exists()):
            key = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
            made = (
                _builder(subject, subject, key, _AUTHORITY_DAYS)
                .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                .add_extension(_usage(authority=True), critical=True)
                .add_extension(
                    x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
                )
                .sign(key, hashes.SHA256())
            )
            _write(files, made, key)
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        loaded = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{files.key} holds no elliptic-curve key")
        return cls(files, certificate, loaded)

    def issue(
        self,
        folder: Path,
        name: str,
        common_name: str,
        *,
        groups: Sequence[str] = (),
        hosts: Iterable[str] = (),
    ) -> KeyPair:
        """A new certificate, for a client, and where hosts are given for a server as well.

        Args:
            folder: where the files go.
            name: of the files.
            common_name: the user that Kubernetes sees.
            groups: the groups that Kubernetes sees.
            hosts: DNS names and IP addresses that it serves.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, g) for g in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        served = [_host(h) for h in hosts]
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if served:
            purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
        builder = (
            _builder(subject, self._certificate.subject, key, _LEAF_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if served:
            builder = builder.add_extension(x509.SubjectAlternativeName(served), critical=False)
        files = KeyPair(folder / f"{name}.crt", folder / f"{name}.key")
        _write(files, builder.sign(self._key, hashes.SHA256()), key)
        return files


def signing_key(folder: Path, name: str) -> KeyPair:
    """The key pair that signs and checks ServiceAccount tokens; ``certificate`` is a public key."""
    files = KeyPair(folder / f"{name}.pub", folder / f"{name}.key")
    if not (files.certificate.exists() and files.key.exists()):
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        _keep(files.key, _pem(key), PRIVATE)
        _keep(files.certificate, public, _PUBLIC)
    return files


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(files: KeyPair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    _keep(files.key, _pem(key), PRIVATE)
    _keep(files.certificate, certificate.public_bytes(serialization.Encoding.PEM), _PUBLIC)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _keep(file: Path, content: bytes, mode: int) -> None:
    """Whole or not at all: what is half written would be found, and used, by every later start."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, content, mode)
