import socket

from headway_cluster.ports import LOOPBACK, allotted


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


def test_a_broken_file_is_no_obstacle(tmp_path):
    file = tmp_path / "ports.json"
    file.write_text("{")
    assert set(allotted(file, ("a",))) == {"a"}
