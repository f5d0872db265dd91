"""A container that cannot be started says why, and is tried again."""

from __future__ import annotations

import errno
import time
from pathlib import Path

from headway_cluster.node.addresses import Addresses
from headway_cluster.node.api import Api
from headway_cluster.node.config import NodeConfig
from headway_cluster.node.container_story import Story
from headway_cluster.node.environment import Facts
from headway_cluster.node.images import Image
from headway_cluster.node.pod_folder import PodFolder
from headway_cluster.node.pods import parse
from headway_cluster.node.references import References
from headway_cluster.node.retries import Retries
from headway_cluster.node.starting import Starter
from headway_cluster.node.surroundings import Surroundings
from podspecs import a_container, a_pod


class NoServer(Api):
    """An API server that is never asked for anything."""

    def __init__(self):
        self.server = "https://127.0.0.1:6443"


class Heard:
    def __init__(self):
        self.warnings = []

    def warning(self, about, reason, message):
        self.warnings.append((about.name, reason, message))


def test_a_disk_that_takes_no_more_is_the_reason_of_the_container_and_an_event(tmp_path):
    pod = parse(a_pod(a_container("main", "true")))
    image = {pod.containers[0].image: Image(path=("/bin",))}
    heard = Heard()
    around = Surroundings(
        config=NodeConfig("n", Path("/k"), tmp_path, images=image),
        api=NoServer(),
        addresses=Addresses("127.64.0.0/16"),
        announcer=heard,
        cpu=1,
        memory=1,
    )
    facts = Facts(pod, pod_ip="p", host_ip="h", node_name="n", cpu=1, memory=1)
    references = References(around.api, pod)
    retries, story, folder = Retries(), Story(), PodFolder(tmp_path / "pod")
    starter = Starter(around, folder, retries)
    starter.prepare(pod, facts)
    starter.provide(pod, references, time.time())
    folder.root.write_text("a file where the folder has to be")

    assert not starter.start(pod, pod.containers[0], story, facts, references)
    assert story.run is None
    assert story.waiting[0] == "CreateContainerError"
    assert "Not a directory" in story.waiting[1]
    assert heard.warnings[0][:2] == ("pod", "Failed")

    folder.root.unlink()
    try:
        assert starter.start(pod, pod.containers[0], story, facts, references)
        assert story.waiting is None
    finally:
        folder.end_everything()
        story.close()


class Tokens(Api):
    """An API server that gives a token, another one each time."""

    def __init__(self):
        self.given = 0

    def create(self, path, body):
        self.given += 1
        return {"spec": body["spec"], "status": {"token": f"token-{self.given}"}}


def test_a_disk_that_takes_no_more_keeps_the_old_token_and_nobody_from_the_pod(
    tmp_path, monkeypatch
):
    sources = [{"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}]
    volume = {"name": "v", "projected": {"sources": sources}}
    pod = parse(a_pod(a_container("main", "true"), volumes=[volume]))
    facts = Facts(pod, pod_ip="p", host_ip="h", node_name="n", cpu=1, memory=1)
    around = Surroundings(
        config=NodeConfig("n", Path("/k"), tmp_path),
        api=Tokens(),
        addresses=Addresses("127.64.0.0/16"),
        announcer=Heard(),
        cpu=1,
        memory=1,
    )
    folder = PodFolder(tmp_path / "pod")
    starter = Starter(around, folder, Retries())
    starter.prepare(pod, facts)
    references = References(around.api, pod)
    starter.provide(pod, references, time.time())
    token = folder.volumes / "v" / "token"
    before = len(list(token.parent.iterdir()))

    def full(file, _):
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        starter.provide(pod, references, starter.refresh_at)
    assert token.read_text() == "token-1"
    assert len(list(token.parent.iterdir())) == before
    assert 0 < starter.refresh_at - time.time() < 60
    starter.provide(pod, references, starter.refresh_at)
    assert token.read_text() == "token-3"
