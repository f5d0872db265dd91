"""The folders that stand for a pod's volumes."""

from __future__ import annotations

import base64
import stat
import time
from datetime import UTC, datetime, timedelta

import pytest
from headway_cluster.node.api import ApiError
from headway_cluster.node.environment import Facts
from headway_cluster.node.pods import parse
from headway_cluster.node.references import NotYetAllowedError, References
from headway_cluster.node.volumes import VolumeError, Volumes, mounted, write_atomically
from podspecs import a_container, a_pod


class Server:
    """An API server that has these objects in the namespace ``ns``."""

    def __init__(self, **objects):
        self.objects = objects
        self.tokens = 0

    def get(self, path):
        for name, found in self.objects.items():
            if path.endswith(f"/{name}"):
                return found
        raise ApiError(404, "NotFound", f"{path} not found")

    def create(self, path, body):
        self.tokens += 1
        # Its clock is a day behind that of the node.
        lives = timedelta(seconds=body["spec"]["expirationSeconds"])
        expires = datetime.now(UTC) - timedelta(days=1) + lives
        assert body["spec"]["boundObjectRef"]["uid"] == "uid-1"
        return {
            "spec": body["spec"],
            "status": {
                "token": f"token-{self.tokens}-of-{path.split('/')[-2]}",
                "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
        }


@pytest.fixture
def make(tmp_path):
    def making(server, *volumes, **spec):
        pod = parse(
            a_pod(a_container(), volumes=list(volumes), metadata={"labels": {"app": "x"}}, **spec)
        )
        facts = Facts(pod, pod_ip="1.2.3.4", host_ip="h", node_name="n", cpu=1, memory=1)
        made = Volumes(pod, tmp_path / "volumes", facts)
        return made, made.make(References(server, pod))

    return making


CONFIG = {"data": {"a": "1", "b": "2"}, "binaryData": {"c": base64.b64encode(b"\xff").decode()}}
SECRET = {"data": {"key": base64.b64encode(b"geheim").decode()}}


def test_a_config_map_becomes_files(make):
    _, folders = make(Server(cm=CONFIG), {"name": "v", "configMap": {"name": "cm"}})
    assert (folders["v"] / "a").read_text() == "1"
    assert (folders["v"] / "c").read_bytes() == b"\xff"


def test_items_choose_and_rename_with_a_mode(make):
    volume = {"name": "cm", "items": [{"key": "a", "path": "deep/er", "mode": 0o440}]}
    _, folders = make(Server(cm=CONFIG), {"name": "v", "configMap": volume})
    file = folders["v"] / "deep" / "er"
    assert file.read_text() == "1"
    assert stat.S_IMODE(file.stat().st_mode) == 0o440
    assert not (folders["v"] / "b").exists()


def test_everything_can_be_projected_into_one_folder(make):
    sources = [
        {"configMap": {"name": "cm", "items": [{"key": "a", "path": "a"}]}},
        {"secret": {"name": "s"}},
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}},
        {
            "downwardAPI": {
                "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
            }
        },
    ]
    volumes, folders = make(
        Server(cm=CONFIG, s=SECRET),
        {"name": "v", "projected": {"sources": sources}},
        serviceAccountName="robot",
    )
    read = {name: (folders["v"] / name).read_text() for name in ("a", "key", "token", "labels")}
    assert read == {"a": "1", "key": "geheim", "token": "token-1-of-robot", "labels": 'app="x"'}
    assert stat.S_IMODE((folders["v"] / "token").stat().st_mode) == 0o600
    assert volumes.refresh_at == pytest.approx(time.time() + 480, abs=30)


def test_a_token_is_renewed_in_place(make, tmp_path):
    server = Server()
    volume = {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    volumes, folders = make(server, volume)
    pod = parse(a_pod(a_container(), volumes=[volume]))
    volumes.refresh(References(server, pod))
    assert (folders["v"] / "token").read_text() == "token-2-of-default"
    assert len(list(folders["v"].iterdir())) == 3


def test_the_token_with_the_shortest_life_says_when_whatever_the_clocks_say(make):
    tokens = [
        {"serviceAccountToken": {"path": str(seconds), "expirationSeconds": seconds}}
        for seconds in (7200, 600, 3600)
    ]
    before = time.time()
    volumes, _ = make(Server(), {"name": "v", "projected": {"sources": tokens}})
    assert 0 <= volumes.refresh_at - (before + 480) < 60


def test_an_agent_that_comes_back_does_without_what_was_deleted_since_the_pod_started(make):
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    volumes = (
        {"name": "settings", "configMap": {"name": "cm"}},
        {"name": "token", "projected": {"sources": [token]}},
    )
    make(Server(cm=CONFIG), *volumes)
    again, folders = make(Server(), *volumes)
    assert (folders["settings"] / "a").read_text() == "1"
    assert again.refresh_at is not None


def test_a_clock_that_is_set_back_makes_no_renewal_late(make, monkeypatch):
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    volumes, _ = make(Server(), {"name": "v", "projected": {"sources": [token]}})
    right = time.time
    for wrong in (-7200, -600, 600):
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda by=wrong: right() + by)
            assert volumes.refresh_at - time.time() < 0.8 * 3600 + 1


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"configMap": {"name": "no"}}, 'configmap "no" not found'),
        ({"secret": {"secretName": "no"}}, 'secret "no" not found'),
        ({"configMap": {"name": "cm", "items": [{"key": "z", "path": "z"}]}}, 'no key "z"'),
        ({"persistentVolumeClaim": {"claimName": "no"}}, 'persistentvolumeclaim "no" not found'),
        ({"persistentVolumeClaim": {"claimName": "pvc"}}, "is not bound yet"),
        ({"hostPath": {"path": "/no/such", "type": "Directory"}}, "is not a Directory"),
        ({"configMap": {"name": "cm", "items": [{"key": "a", "path": "../a"}]}}, "leads out"),
    ],
)
def test_what_cannot_be_made_names_the_volume_and_the_cause(make, volume, message):
    server = Server(cm=CONFIG, pvc={"spec": {}, "status": {"phase": "Pending"}})
    with pytest.raises(VolumeError, match=r'MountVolume.SetUp failed for volume "v"') as raised:
        make(server, {"name": "v", **volume})
    assert message in str(raised.value)


def test_what_is_optional_may_be_missing(make):
    _, folders = make(Server(), {"name": "v", "secret": {"secretName": "no", "optional": True}})
    assert [one.name for one in folders["v"].iterdir() if not one.name.startswith("..")] == []


def test_a_claim_is_the_folder_of_its_volume(make, tmp_path):
    server = Server(
        claim={"spec": {"volumeName": "pv"}, "status": {"phase": "Bound"}},
        pv={"spec": {"local": {"path": str(tmp_path)}}},
    )
    _, folders = make(server, {"name": "v", "persistentVolumeClaim": {"claimName": "claim"}})
    assert folders["v"] == tmp_path


def test_a_binding_that_the_api_server_does_not_know_yet_is_waited_for(make):
    class Late(Server):
        def get(self, path):
            raise ApiError(403, "Forbidden", "no relationship found between node and this object")

    with pytest.raises(NotYetAllowedError):
        make(Late(), {"name": "v", "configMap": {"name": "cm"}})


def test_a_reader_sees_all_of_the_old_or_all_of_the_new_files(tmp_path):
    write_atomically(tmp_path, {"a": (b"1", 0o644), "old": (b"1", 0o644)})
    before = (tmp_path / "..data").readlink()
    write_atomically(tmp_path, {"a": (b"1", 0o644), "old": (b"1", 0o644)})
    assert (tmp_path / "..data").readlink() == before
    write_atomically(tmp_path, {"a": (b"2", 0o644), "new": (b"2", 0o644)})
    assert (tmp_path / "a").read_bytes() == b"2"
    names = {one.name for one in tmp_path.iterdir() if not one.name.startswith("..")}
    assert names == {"a", "new"}


def test_a_sub_path_is_made_and_cannot_lead_out(tmp_path):
    def container(**mount):
        made = a_container(volumeMounts=[{"name": "v", "mountPath": "/data", **mount}])
        return parse(a_pod(made)).containers[0]

    folders = {"v": tmp_path}
    below = mounted(container(subPath="a/b"), folders, str)
    assert below == {"/data": tmp_path / "a" / "b"}
    assert below["/data"].is_dir()
    named = mounted(container(subPathExpr="$(X)"), folders, lambda text: text.replace("$(X)", "x"))
    assert named == {"/data": tmp_path / "x"}
    with pytest.raises(Exception, match="leads out of volume"):
        mounted(container(subPath="../.."), folders, str)
