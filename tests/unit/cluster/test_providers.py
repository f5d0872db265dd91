"""Which provider makes the local cluster, and what is remembered of it."""

import pytest
from headway_cluster.errors import ClusterError
from headway_cluster.home import Home
from headway_cluster.kind.cluster import KindCluster, KindOptions, Noted
from headway_cluster.local import LocalCluster
from headway_cluster.providers import choose, here
from headway_cluster.standing import Provider, note, standing

KIND, PROCESS = Provider.KIND, Provider.PROCESS


def nothing_in_the_way():
    return None


def no_docker():
    return ClusterError("Docker does not run\nits own words")


def never_asked():
    raise AssertionError("this was decided already")


def test_where_docker_runs_and_has_the_images_it_is_kind():
    assert choose(None, None, nothing_in_the_way).provider is KIND


def test_otherwise_it_is_the_process_node_and_the_reason_is_one_line():
    choice = choose(None, None, no_docker)
    assert choice.provider is PROCESS
    assert choice.because == "not kind: Docker does not run"


@pytest.mark.parametrize("provider", list(Provider))
def test_the_one_that_is_asked_for_is_not_questioned(provider):
    assert choose(provider, None, never_asked).provider is provider


@pytest.mark.parametrize("asked", [None, KIND])
def test_a_cluster_that_is_up_is_gone_on_with(asked):
    assert choose(asked, KIND, never_asked).provider is KIND


@pytest.mark.parametrize(("asked", "up"), [(KIND, PROCESS), (PROCESS, KIND)])
def test_the_other_provider_is_refused_while_one_is_up(asked, up):
    with pytest.raises(ClusterError, match=f"of provider {up}") as refused:
        choose(asked, up, never_asked)
    assert refused.value.todo == (
        "headway cluster down",
        f"headway cluster up --provider {asked}",
    )


def test_the_file_tells_whose_cluster_is_up(tmp_path):
    home = Home(tmp_path / "cache", tmp_path / "state")
    assert standing(home.cluster) is None
    assert isinstance(here(home), LocalCluster)
    note(home.cluster, KIND, {})
    assert standing(home.cluster) is KIND
    assert isinstance(here(home), KindCluster)
    note(home.cluster, PROCESS)
    assert standing(home.cluster) is PROCESS


@pytest.mark.parametrize("content", [None, "", "[]", '{"provider": "other"}'])
def test_a_cluster_without_such_a_file_is_of_the_time_before_it(tmp_path, content):
    if content is not None:
        (tmp_path / "provider.json").write_text(content)
    assert standing(tmp_path) is PROCESS


def test_an_interrupted_start_is_repeated_as_it_was_asked_for(tmp_path):
    asked = KindOptions("node:1", 2, {"networking": {"ipFamily": "ipv4"}}, "/archives")
    noted = Noted(asked, {"DOCKER_HOST": "unix:///d.sock"})
    noted.write(tmp_path)
    assert Noted.read(tmp_path) == noted
    assert KindOptions().over(asked) == asked
    assert KindOptions(workers=0).over(asked) == KindOptions(
        "node:1", 0, asked.configuration, "/archives"
    )


def test_nothing_is_read_from_the_file_of_the_other_provider(tmp_path):
    note(tmp_path, PROCESS)
    assert Noted.read(tmp_path) is None
