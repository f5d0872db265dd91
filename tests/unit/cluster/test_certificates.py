import contextlib
import errno
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from headway_cluster.pki import Authority, signing_key


@pytest.fixture
def authority(tmp_path):
    return Authority.load_or_make(tmp_path, "ca")


def test_an_authority_stays_the_same(authority, tmp_path):
    again = Authority.load_or_make(tmp_path, "ca")
    assert again.files.certificate.read_bytes() == authority.files.certificate.read_bytes()


@pytest.mark.parametrize("write_at", [1, 2])
@pytest.mark.parametrize("make", [Authority.load_or_make, signing_key])
def test_what_a_full_disk_left_half_written_is_made_anew(tmp_path, monkeypatch, make, write_at):
    writes = []

    def full(file, content, write=Path.write_bytes):
        writes.append(file)
        write(file, b"" if len(writes) == write_at else content)
        if len(writes) == write_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            make(tmp_path, "made")
    made = make(tmp_path, "made")
    files = made.files if isinstance(made, Authority) else made
    assert files.key.read_bytes().startswith(b"-----BEGIN")
    assert files.certificate.read_bytes().startswith(b"-----BEGIN")


def test_private_keys_are_their_owners_alone(authority, tmp_path):
    issued = authority.issue(tmp_path, "leaf", "user")
    tokens = signing_key(tmp_path, "tokens")
    for key in (authority.files.key, issued.key, tokens.key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> dict:
    """What the server sees of a client that shakes hands over a pair of sockets."""
    left, right = socket.socketpair()
    seen: dict = {}

    def serve() -> None:
        # A client that does not trust us hangs up: the test looks at the client.
        with (
            contextlib.suppress(OSError),
            server.wrap_socket(left, server_side=True) as secured,
        ):
            seen.update(secured.getpeercert() or {})
            secured.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with client.wrap_socket(right, server_hostname=name) as secured:
        secured.send(b"x")
    thread.join(10)
    return seen


def _contexts(authority, tmp_path, hosts):
    serving = authority.issue(tmp_path, "server", "server", hosts=hosts)
    user = authority.issue(tmp_path, "client", "anna", groups=["team:a"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(serving.certificate, serving.key)
    server.load_verify_locations(authority.files.certificate)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=str(authority.files.certificate))
    client.load_cert_chain(user.certificate, user.key)
    return server, client


def test_a_server_and_a_client_of_one_authority_trust_each_other(authority, tmp_path):
    server, client = _contexts(authority, tmp_path, ["127.0.0.1", "node"])
    seen = _handshake(server, client, "127.0.0.1")
    names = {key: value for ((key, value),) in seen["subject"]}
    assert names == {"organizationName": "team:a", "commonName": "anna"}


def test_a_server_under_another_name_is_not_trusted(authority, tmp_path):
    server, client = _contexts(authority, tmp_path, ["node"])
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(server, client, "other")
