import hashlib
import http.server
import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest
from headway_cluster.binaries import building, finding, mirror
from headway_cluster.binaries.finding import ensure
from headway_cluster.binaries.toolsets import (
    KUBERNETES_VERSION,
    TOOLSETS,
    Toolset,
    toolset_of,
)
from headway_cluster.errors import ClusterError
from headway_cluster.home import Home


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "cache", tmp_path / "state")


@pytest.fixture(autouse=True)
def builds(monkeypatch):
    """Nothing is built; which toolsets would be is noted."""
    noted: list[str] = []

    def build(toolset: Toolset, cache: Path, say) -> None:
        noted.append(toolset.module)
        for program in toolset.programs:
            _program(cache / toolset.folder / program)

    monkeypatch.setattr(finding.building, "build", build)
    return noted


def _program(file: Path, content: str = "#!/bin/sh\n") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    file.chmod(0o755)
    return file


def test_kubebuilder_assets_are_honoured_for_what_they_hold(home, tmp_path, builds):
    etcd = _program(tmp_path / "assets" / "etcd")
    env = {"KUBEBUILDER_ASSETS": str(tmp_path / "assets")}
    found = ensure(home, ["etcd", "kube-scheduler"], print, env)
    assert found["etcd"] == etcd
    assert found["kube-scheduler"].is_relative_to(home.cache)
    assert builds == ["controlplane"]


def test_what_is_cached_is_not_made_again(home, builds):
    for _ in range(2):
        ensure(home, ["etcd", "helm"], print, {})
    assert sorted(builds) == ["controlplane", "helm"]


def test_every_program_belongs_to_one_toolset():
    programs = [p for toolset in TOOLSETS for p in toolset.programs]
    assert len(programs) == len(set(programs))
    assert toolset_of("kubectl").module == "controlplane"
    with pytest.raises(KeyError):
        toolset_of("docker")


@pytest.fixture
def served(tmp_path):
    """A mirror on loopback: its folder and its URL."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _release(folder: Path, program: str, *, right: bool = True) -> None:
    machine = mirror._MACHINES[mirror.platform.machine().lower()]
    file = folder / KUBERNETES_VERSION / "bin" / mirror.sys.platform / machine / program
    _program(file, f"I am {program}")
    digest = hashlib.sha256(file.read_bytes() if right else b"other").hexdigest()
    file.with_name(f"{program}.sha256").write_text(f"{digest}\n")


def test_a_mirror_serves_what_it_has(home, served, builds):
    folder, url = served
    for program in toolset_of("etcd").programs:
        _release(folder, program)
    found = ensure(home, ["etcd", "kubectl"], print, {mirror.MIRROR: url})
    assert found["kubectl"].read_text() == "I am kubectl"
    assert found["etcd"].stat().st_mode & 0o111
    assert builds == []


def test_a_mirror_need_not_have_what_is_elsewhere(home, served, builds, tmp_path):
    """Release mirrors have no etcd; the assets of kubebuilder have no scheduler."""
    folder, url = served
    _release(folder, "kube-scheduler")
    env = {mirror.MIRROR: url, "KUBEBUILDER_ASSETS": str(tmp_path / "assets")}
    etcd = _program(tmp_path / "assets" / "etcd")
    found = ensure(home, ["etcd", "kube-scheduler"], print, env)
    assert found["etcd"] == etcd
    assert found["kube-scheduler"].read_text() == "I am kube-scheduler"
    assert builds == []


def test_without_an_environment_for_go_it_says_what_will_do(home, monkeypatch):
    def no_ensurepip(*_, **__):
        raise subprocess.CalledProcessError(1, "ensurepip")

    monkeypatch.setattr(building.shutil, "which", lambda _: None)
    monkeypatch.setattr(building.venv, "create", no_ensurepip)
    with pytest.raises(ClusterError, match=r"install Go 1\.26 or later"):
        building._go(home.cache, print)


def test_a_mirror_that_lacks_a_program_falls_back_to_building(home, served, builds):
    folder, url = served
    _release(folder, "etcd")
    ensure(home, ["etcd", "kubectl"], print, {mirror.MIRROR: url})
    assert builds == ["controlplane"]


def test_a_download_that_is_not_what_its_checksum_says_is_refused(home, served):
    folder, url = served
    _release(folder, "etcd", right=False)
    with pytest.raises(ClusterError, match="does not match its checksum"):
        ensure(home, ["etcd"], print, {mirror.MIRROR: url})
    assert not list(home.cache.rglob("etcd*"))


def test_nobody_is_asked_where_no_mirror_is_named(home):
    assert not mirror.fetch(toolset_of("etcd"), ["etcd"], home.cache, print, {})


def test_the_go_version_is_read():
    assert building._version("/no/such/go") == (0, 0)
