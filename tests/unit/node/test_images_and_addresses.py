from __future__ import annotations

import pytest
from headway_cluster.node.addresses import Addresses, NoAddressLeftError
from headway_cluster.node.images import Image, ImageNotAvailableError, find

KNOWN = {"headway/trainer:0.1.0": Image(path=("/venv/bin",)), "python": Image(path=("/py",))}


@pytest.mark.parametrize("name", ["python", "python:latest"])
def test_an_image_is_found_under_every_way_to_write_its_name(name):
    assert find(KNOWN, name).path == ("/py",)


@pytest.mark.parametrize(
    "name", ["headway/trainer", "headway/trainer:0.2.0", "python:3.12", "other/python", ""]
)
def test_a_similar_image_is_not_the_image(name):
    with pytest.raises(ImageNotAvailableError, match=r"knows the images headway/trainer:0\.1\.0"):
        find(KNOWN, name)


def test_an_image_has_no_other_parts():
    with pytest.raises(ValueError, match="pth"):
        Image.from_json({"pth": ["/x"]})


def test_every_address_is_given_once():
    addresses = Addresses("127.64.0.0/29")
    taken = {addresses.take() for _ in range(6)}
    assert taken == {f"127.64.0.{n}" for n in range(1, 7)}
    with pytest.raises(NoAddressLeftError):
        addresses.take()
    addresses.give_back("127.64.0.3")
    assert addresses.take() == "127.64.0.3"


def test_an_address_that_a_pod_has_is_not_given_to_another():
    addresses = Addresses("127.64.0.0/30", choose=lambda _: 0)
    assert addresses.keep("127.64.0.1")
    assert addresses.take() == "127.64.0.2"
    assert not addresses.keep("127.99.0.1")
