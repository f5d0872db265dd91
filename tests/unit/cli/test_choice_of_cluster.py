"""Which cluster a command talks to."""

from __future__ import annotations

from pathlib import Path

import pytest
from headway.client_errors import Invalid, Unreachable
from headway.cluster_api import ClusterApi, choose, local_kubeconfig


def kubeconfig(path: Path, *contexts: str, namespace: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = ", ".join(
        f"{{name: {c}, context: {{cluster: k, user: u, namespace: '{namespace}'}}}}"
        for c in contexts
    )
    path.write_text(
        f"{{apiVersion: v1, kind: Config, current-context: {contexts[0]}, contexts: [{listed}], "
        "clusters: [{name: k, cluster: {server: 'https://127.0.0.1:1'}}], "
        "users: [{name: u, user: {token: t}}]}",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment with a home of its own and nothing configured."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return {"HOME": str(tmp_path), "HEADWAY_HOME": str(tmp_path / "headway")}


def test_a_file_that_is_named_wins(env: dict[str, str], tmp_path: Path) -> None:
    named = kubeconfig(tmp_path / "named", "a")
    env["KUBECONFIG"] = str(kubeconfig(tmp_path / "other", "b"))
    assert choose(named, None, env).files == str(named)


def test_a_file_that_is_not_there_is_told(env: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"No cluster is configured: there is no file .*nope"):
        choose(tmp_path / "nope", None, env)


def test_the_variable_goes_before_the_local_cluster_and_that_before_the_usual_file(
    env: dict[str, str], tmp_path: Path
) -> None:
    usual = kubeconfig(tmp_path / ".kube" / "config", "usual")
    assert choose(None, None, env).files == str(usual)
    local = kubeconfig(local_kubeconfig(env), "headway")
    assert choose(None, None, env).files == str(local)
    env["KUBECONFIG"] = str(kubeconfig(tmp_path / "named", "named"))
    assert choose(None, None, env).files == env["KUBECONFIG"]


def test_a_context_is_found_where_it_is(env: dict[str, str], tmp_path: Path) -> None:
    usual = kubeconfig(tmp_path / ".kube" / "config", "usual", "prod")
    local = kubeconfig(local_kubeconfig(env), "headway")
    assert choose(None, "prod", env).files == str(usual)
    assert choose(None, "headway", env).files == str(local)
    with pytest.raises(Unreachable, match="no context nope"):
        choose(None, "nope", env)


def test_nothing_configured_is_told(env: dict[str, str]) -> None:
    with pytest.raises(Unreachable, match="No cluster is configured"):
        choose(None, None, env)


def test_in_a_pod_its_own_account_is_used(env: dict[str, str]) -> None:
    assert choose(None, None, {**env, "KUBERNETES_SERVICE_HOST": "10.0.0.1"}).files is None


@pytest.mark.parametrize("relative", ["state", ""])
def test_a_relative_xdg_folder_is_ignored(relative: str, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "XDG_STATE_HOME": relative}
    expected = tmp_path / ".local" / "state" / "headway" / "cluster" / "kubeconfig"
    assert local_kubeconfig(env) == expected


def test_the_namespace_is_the_contexts(env: dict[str, str], tmp_path: Path) -> None:
    api = ClusterApi(choose(kubeconfig(tmp_path / "k", "a", "b", namespace="team"), "b", env))
    assert (api.context, api.namespace, api.server) == ("b", "team", "https://127.0.0.1:1")


def test_a_broken_kubeconfig_is_told_without_a_traceback(
    env: dict[str, str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("apiVersion: v1\nkind: Config\n", encoding="utf-8")
    with pytest.raises(Unreachable, match="cannot be used"):
        ClusterApi(choose(broken, None, env))


@pytest.mark.parametrize(
    "text", ["a: [1", "- 1", "words", "{}", "kind: TrainingOperation", "contexts: 3\n", "\x00"]
)
def test_a_file_that_is_no_kubeconfig_is_told_as_such(
    text: str, env: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\xff" if text == "\x00" else text.encode())
    with pytest.raises(Unreachable, match=f"{file}, as asked for, (cannot be used|is no kubec)"):
        ClusterApi(choose(file, None, env))


def test_a_value_that_json_cannot_say_is_refused_with_its_reason(
    env: dict[str, str], tmp_path: Path
) -> None:
    api = ClusterApi(choose(kubeconfig(tmp_path / "k", "a"), None, env))
    with pytest.raises(Invalid, match="JSON cannot say it"):
        api.request("POST", "/", doing="create it", body={"interval": float("nan")})
