from __future__ import annotations

import pytest
from headway_cluster.node.environment import ConfigurationError, Facts, expand, resolve
from headway_cluster.node.pods import parse
from podspecs import a_container, a_pod

OBJECTS = {"config": {"a": "1", "b": "2"}}
SECRETS = {"secret": {"password": "geheim"}}


class Objects:
    def config_map(self, name):
        return OBJECTS.get(name)

    def secret(self, name):
        return SECRETS.get(name)


def variables(base=None, **container):
    raw = a_pod(
        a_container(**container),
        metadata={"labels": {"app": "x"}, "annotations": {"note": "y"}},
        serviceAccountName="robot",
    )
    pod = parse(raw)
    facts = Facts(pod, pod_ip="127.64.0.9", host_ip="127.0.0.1", node_name="n", cpu=4, memory=2**30)
    return resolve(pod, pod.containers[0], base or {}, Objects(), facts)


def of(name, **source):
    return {"name": name, "valueFrom": source}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("$(A)$(B)", "12"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$A", "$A"),
        ("$(", "$("),
        ("costs $$5", "costs $5"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text, expanded):
    assert expand(text, {"A": "1", "B": "2"}) == expanded


def test_every_source_of_a_variable():
    found = variables(
        env=[
            {"name": "PLAIN", "value": "v"},
            {"name": "EMPTY"},
            of("KEY", configMapKeyRef={"name": "config", "key": "a"}),
            of("PASSWORD", secretKeyRef={"name": "secret", "key": "password"}),
            of("IP", fieldRef={"fieldPath": "status.podIP"}),
            of("APP", fieldRef={"fieldPath": "metadata.labels['app']"}),
            of("ACCOUNT", fieldRef={"fieldPath": "spec.serviceAccountName"}),
            of("MEMORY", resourceFieldRef={"resource": "limits.memory", "divisor": "1Mi"}),
            {"name": "MORE", "value": "$(PLAIN)-$(KEY)"},
        ],
        resources={"limits": {"memory": "1Gi"}},
    )
    assert found == {
        "PLAIN": "v",
        "EMPTY": "",
        "KEY": "1",
        "PASSWORD": "geheim",
        "IP": "127.64.0.9",
        "APP": "x",
        "ACCOUNT": "robot",
        "MEMORY": "1024",
        "MORE": "v-1",
    }


def test_env_wins_over_env_from_and_both_over_the_image():
    found = variables(
        base={"a": "image", "P_b": "image", "PATH": "/bin"},
        envFrom=[
            {"configMapRef": {"name": "config"}},
            {"prefix": "P_", "configMapRef": {"name": "config"}},
        ],
        env=[{"name": "a", "value": "own"}],
    )
    assert found == {"a": "own", "b": "2", "P_a": "1", "P_b": "2", "PATH": "/bin"}


def test_a_limit_that_is_not_set_is_told_as_all_of_the_node():
    found = variables(
        env=[
            of("CPU", resourceFieldRef={"resource": "limits.cpu"}),
            of("MEMORY", resourceFieldRef={"resource": "limits.memory"}),
            of("REQUEST", resourceFieldRef={"resource": "requests.memory"}),
        ]
    )
    assert found == {"CPU": "4", "MEMORY": str(2**30), "REQUEST": "0"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "no", "key": "a"}}, 'configmap "no" not found'),
        ({"secretKeyRef": {"name": "no", "key": "a"}}, 'secret "no" not found'),
        ({"configMapKeyRef": {"name": "config", "key": "z"}}, "couldn't find key z in ConfigMap"),
    ],
)
def test_what_is_missing_is_named_unless_it_is_optional(source, message):
    with pytest.raises(ConfigurationError, match=message):
        variables(env=[of("A", **source)])
    kind, reference = next(iter(source.items()))
    assert variables(env=[of("A", **{kind: {**reference, "optional": True}})]) == {}


def test_a_missing_object_of_env_from_is_named():
    with pytest.raises(ConfigurationError, match='secret "no" not found'):
        variables(envFrom=[{"secretRef": {"name": "no"}}])
    assert variables(envFrom=[{"secretRef": {"name": "no", "optional": True}}]) == {}
