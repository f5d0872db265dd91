import errno
import socket
from pathlib import Path

import pytest
from headway_cluster import ports
from headway_cluster.ports import LOOPBACK, allotted, pod_network


def test_ports_stay_as_long_as_they_are_free(tmp_path):
    file = tmp_path / "ports.json"
    first = allotted(file, ("a", "b"))
    assert first["a"] != first["b"]
    assert allotted(file, ("a", "b")) == first


def test_a_port_that_somebody_took_is_replaced(tmp_path):
    file = tmp_path / "ports.json"
    first = allotted(file, ("a",))
    with socket.socket() as other:
        other.bind((LOOPBACK, first["a"]))
        other.listen()
        assert allotted(file, ("a",)) != first


def test_it_is_the_address_asked_for_that_has_to_be_free(tmp_path):
    file = tmp_path / "ports.json"
    first = allotted(file, ("a",), "127.0.0.2")
    with socket.socket() as other:
        other.bind((LOOPBACK, first["a"]))
        other.listen()
        assert allotted(file, ("a",), "127.0.0.2") == first
    with socket.socket() as other:
        other.bind(("127.0.0.2", first["a"]))
        other.listen()
        assert allotted(file, ("a",), "127.0.0.2") != first


def test_an_address_of_another_machine_has_no_ports_here(tmp_path):
    with pytest.raises(OSError, match="assign"):
        allotted(tmp_path / "ports.json", ("a",), "192.0.2.1")


def test_a_broken_file_is_no_obstacle(tmp_path):
    file = tmp_path / "ports.json"
    file.write_text("{")
    assert set(allotted(file, ("a",))) == {"a"}


def test_a_network_in_which_somebody_listens_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(ports, "_NETWORKS", 1)
    with socket.socket() as pod_of_another:
        pod_of_another.bind(("127.64.0.9", 0))
        pod_of_another.listen()
        with pytest.raises(IndexError):
            pod_network(tmp_path / "a")
    monkeypatch.setattr(ports, "_NETWORKS", 2048)
    drawn = pod_network(tmp_path / "a")
    assert pod_network(tmp_path / "a") == drawn


def test_a_network_that_a_full_disk_did_not_let_be_noted_is_drawn_anew(tmp_path, monkeypatch):
    def full(file, _, write=Path.write_text):
        write(file, "")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space"):
            pod_network(tmp_path / "network")
    assert pod_network(tmp_path / "network").startswith("127.")
