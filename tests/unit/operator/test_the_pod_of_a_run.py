"""The Job and the pod that a spec becomes."""

from __future__ import annotations

import json

import pytest
from headway_api import environment, names
from headway_api.models import TrainingOperationSpec
from headway_operator import job_template
from headway_operator.pod_security import enforces_restricted
from headway_operator.pod_template import (
    NotAllowedError,
    bytes_of,
    check_pod_template,
    pod_template,
)
from headway_operator.reading import operation_view
from headway_operator.strategic_merge import MergeError, merged
from snapshots import UID, raw_operation


def made(*, restricted=False, **spec):
    """The pod of a run with that spec, in a namespace that enforces the restricted standard."""
    if "type" not in spec:
        spec = {"type": "Dummy", "dummy": {"iterations": 3}, **spec}
    return pod_template(
        name="run",
        namespace="team",
        uid=UID,
        attempt=2,
        spec=TrainingOperationSpec.model_validate(spec),
        raw_spec=spec,
        default_image="headway/trainer:1",
        restricted=restricted,
    )


def trainer_of(pod):
    return next(c for c in pod["spec"]["containers"] if c["name"] == names.TRAINER_CONTAINER)


def env_of(pod):
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in trainer_of(pod)["env"]}


def test_the_trainer_is_told_who_it_works_for():
    env = env_of(made())
    assert env[environment.OPERATION_NAME] == "run"
    assert env[environment.OPERATION_NAMESPACE] == "team"
    assert env[environment.OPERATION_UID] == UID
    assert env[environment.ATTEMPT] == "2"
    assert env[environment.WORKSPACE] == names.WORKSPACE_PATH
    assert json.loads(env[environment.OPERATION_PARAMETERS]) == {"iterations": 3}
    assert env[environment.POD_NAME] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_parameters_reach_the_trainer_literally_whatever_they_look_like():
    custom = {"entrypoint": "a:b", "parameters": {"text": "$(HOME) $$(X) ${Y}"}}
    value = env_of(made(type="Custom", custom=custom))[environment.OPERATION_PARAMETERS]
    assert "$$(HOME) $$$$(X) $${Y}" in value


@pytest.mark.parametrize(
    ("spec", "command", "args"),
    [
        ({}, ["python", "-m", "headway_trainer"], None),
        (
            {"type": "Custom", "custom": {"entrypoint": "pkg.mod:run"}},
            ["python", "-m", "headway", "exec"],
            None,
        ),
        (
            {"type": "Custom", "custom": {"command": ["bash", "-c"], "args": ["true"]}},
            ["bash", "-c"],
            ["true"],
        ),
        ({"type": "Custom", "custom": {"args": ["--fast"]}}, None, ["--fast"]),
    ],
)
def test_the_command_follows_from_the_type(spec, command, args):
    trainer = trainer_of(made(**spec))
    assert trainer.get("command") == command
    assert trainer.get("args") == args


def test_the_pod_runs_once_as_the_trainers_account_and_keeps_its_last_words():
    pod = made(cancelGracePeriodSeconds=77)
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["serviceAccountName"] == "headway-trainer"
    assert pod["spec"]["terminationGracePeriodSeconds"] == 77
    assert made(cancelGracePeriodSeconds=0)["spec"]["terminationGracePeriodSeconds"] == 5
    assert trainer_of(pod)["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert trainer_of(pod)["image"] == "headway/trainer:1"


@pytest.mark.parametrize(
    ("storage", "volume", "mount"),
    [
        (None, {"emptyDir": {}}, {}),
        ({"emptyDir": {"sizeLimit": "1Gi"}}, {"emptyDir": {"sizeLimit": "1Gi"}}, {}),
        (
            {"existingClaim": {"claimName": "data", "subPath": "mine"}},
            {"persistentVolumeClaim": {"claimName": "data"}},
            {"subPath": "mine"},
        ),
        (
            {"claimTemplate": {"size": "5Gi"}},
            {"persistentVolumeClaim": {"claimName": "run-workspace"}},
            {},
        ),
    ],
)
def test_the_workspace_is_the_volume_that_storage_names(storage, volume, mount):
    pod = made(**({"storage": storage} if storage else {}))
    assert {"name": "workspace", **volume} in pod["spec"]["volumes"]
    assert {"name": "workspace", "mountPath": "/workspace", **mount} in trainer_of(pod)[
        "volumeMounts"
    ]


@pytest.mark.parametrize(
    ("limit", "size"),
    [("8Gi", "4096Mi"), ("2000M", "953Mi"), (None, None), ("nonsense", None), ("1e999", None)],
)
def test_shared_memory_is_half_of_the_memory_limit(limit, size):
    pod = made(**({"resources": {"limits": {"memory": limit}}} if limit else {}))
    shared = next(v for v in pod["spec"]["volumes"] if v["name"] == "headway-shm")["emptyDir"]
    assert shared["medium"] == "Memory"
    assert shared.get("sizeLimit") == size


def test_quantities_are_read_as_kubernetes_reads_them():
    assert bytes_of("1.5Gi") == 1610612736
    assert bytes_of("100k") == 100_000
    assert bytes_of("512") == 512
    assert bytes_of("five") is None


def test_a_strategy_from_a_config_map_is_mounted_and_its_path_told():
    training = {
        "strategy": {"configMapKeyRef": {"name": "strategies", "key": "mlp.yaml"}},
        "symbols": ["AAPL"],
        "timeframes": ["1d"],
    }
    pod = made(type="Training", training=training)
    volume = next(v for v in pod["spec"]["volumes"] if v["name"] == "headway-strategy")
    assert volume["configMap"]["name"] == "strategies"
    folder = next(
        m["mountPath"] for m in trainer_of(pod)["volumeMounts"] if m["name"] == "headway-strategy"
    )
    item = volume["configMap"]["items"][0]
    assert item["key"] == "mlp.yaml"
    assert env_of(pod)[environment.STRATEGY_PATH] == f"{folder}/{item['path']}"


def test_a_pod_template_adds_what_it_names_and_keeps_the_rest():
    template = {
        "metadata": {"labels": {"team": "quant"}},
        "spec": {
            "nodeSelector": {"gpu": "yes"},
            "serviceAccountName": "my-cloud-identity",
            "containers": [
                {"name": "trainer", "env": [{"name": "SEED", "value": "1"}]},
                {"name": "proxy", "image": "proxy:1"},
            ],
        },
    }
    pod = made(podTemplate=template)
    assert pod["metadata"]["labels"]["team"] == "quant"
    assert pod["metadata"]["labels"][names.LABEL_OPERATION] == "run"
    assert pod["spec"]["nodeSelector"] == {"gpu": "yes"}
    assert pod["spec"]["serviceAccountName"] == "my-cloud-identity"
    assert [c["name"] for c in pod["spec"]["containers"]] == ["trainer", "proxy"]
    assert env_of(pod)["SEED"] == "1"
    assert env_of(pod)[environment.OPERATION_NAME] == "run"


HOST = {"key": "headway.dev/host", "operator": "Equal", "value": "true", "effect": "NoSchedule"}


def test_a_run_of_the_cluster_tolerates_no_host():
    pod = made()["spec"]
    assert "nodeSelector" not in pod
    assert "tolerations" not in pod


def test_a_host_run_goes_to_host_machines_only_whatever_else_its_template_asks_for():
    assert made(placement="Host")["spec"]["nodeSelector"] == {"headway.dev/host": "true"}
    gpu = {"key": "gpu", "operator": "Exists"}
    template = {
        "spec": {
            "nodeSelector": {"gpu": "a", "headway.dev/host": "false"},
            "tolerations": [gpu],
        }
    }
    pod = made(placement="Host", podTemplate=template)["spec"]
    assert pod["nodeSelector"] == {"gpu": "a", "headway.dev/host": "true"}
    assert pod["tolerations"] == [gpu, HOST]


def test_several_workers_go_to_one_host_where_they_find_each_other():
    assert "affinity" not in made(placement="Host")["spec"]
    near = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    template = {"spec": {"affinity": {"podAffinity": {required: [near]}}}}
    pod = made(placement="Host", workers=2, podTemplate=template)["spec"]
    together = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {names.LABEL_OPERATION_UID: UID}},
    }
    assert pod["affinity"]["podAffinity"][required] == [near, together]


def context_of(pod, name=names.TRAINER_CONTAINER, kind="containers"):
    container = next(c for c in pod["spec"][kind] if c["name"] == name)
    return container.get("securityContext")


NON_ROOT = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
NO_RIGHTS = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize("spec", [{}, {"image": "headway/trainer:1"}])
def test_our_own_image_always_runs_restricted_and_read_only(spec, restricted):
    pod = made(restricted=restricted, **spec)
    assert pod["spec"]["securityContext"] == {
        **NON_ROOT,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "fsGroupChangePolicy": "OnRootMismatch",
    }
    assert context_of(pod) == {**NO_RIGHTS, "readOnlyRootFilesystem": True}
    assert {"name": "headway-tmp", "emptyDir": {}} in pod["spec"]["volumes"]
    assert {"name": "headway-tmp", "mountPath": "/tmp"} in trainer_of(pod)["volumeMounts"]


def test_a_users_image_is_left_as_it_is():
    pod = made(image="mine:1", podTemplate={"spec": {"containers": [{"name": "proxy"}]}})
    assert "securityContext" not in pod["spec"]
    assert not any("securityContext" in c for c in pod["spec"]["containers"])
    assert [v["name"] for v in pod["spec"]["volumes"]] == ["workspace", "headway-shm"]


MORE = {
    "containers": [{"name": "proxy", "image": "p"}, {"name": "trainer", "tty": True}],
    "initContainers": [{"name": "fetch", "image": "f"}],
}


def test_where_the_standard_is_enforced_what_it_asks_for_is_said_but_no_user():
    pod = made(restricted=True, image="mine:1", podTemplate={"spec": MORE})
    assert pod["spec"]["securityContext"] == NON_ROOT
    assert context_of(pod) == context_of(pod, "proxy") == NO_RIGHTS
    assert context_of(pod, "fetch", "initContainers") == NO_RIGHTS
    assert [c["name"] for c in pod["spec"]["containers"]] == ["trainer", "proxy"]
    assert trainer_of(pod)["tty"] is True


def test_the_user_has_the_last_word():
    template = {
        "spec": {
            "securityContext": {"runAsUser": 1000, "seccompProfile": None, "fsGroup": None},
            "containers": [
                {"name": "trainer", "securityContext": {"readOnlyRootFilesystem": False}},
                {"name": "proxy", "securityContext": {"capabilities": {"add": ["NET_BIND"]}}},
                {"name": "plain", "securityContext": None},
            ],
        }
    }
    pod = made(restricted=True, podTemplate=template)
    assert pod["spec"]["securityContext"]["runAsUser"] == 1000
    assert not {"seccompProfile", "fsGroup"} & set(pod["spec"]["securityContext"])
    assert context_of(pod)["readOnlyRootFilesystem"] is False
    assert context_of(pod, "proxy")["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND"]}
    assert context_of(pod, "plain") is None


@pytest.mark.parametrize(
    ("spec", "asked"),
    [
        ({}, False),
        ({"image": "mine:1"}, True),
        ({"podTemplate": {"spec": {"containers": [{"name": "trainer", "tty": True}]}}}, False),
        ({"podTemplate": {"spec": MORE}}, True),
    ],
)
def test_the_namespace_is_asked_only_where_it_makes_a_difference(spec, asked):
    operation = operation_view(raw_operation(**spec))
    assert job_template.asks_for_the_namespace(operation, "headway/trainer:1") is asked


@pytest.mark.parametrize("level", ["restricted", "baseline", "privileged", None])
def test_the_namespaces_label_says_what_it_enforces(level):
    labels = {"pod-security.kubernetes.io/enforce": level} if level else {"a": "b"}
    namespace = {"metadata": {"labels": labels}}
    assert enforces_restricted(namespace) is (level == "restricted")
    assert enforces_restricted({"metadata": {}}) is False


TRAINER = names.TRAINER_CONTAINER


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ({"spec": {"restartPolicy": "OnFailure"}}, "restartPolicy must be Never"),
        ({"spec": {"automountServiceAccountToken": False}}, "automountServiceAccountToken"),
        ({"spec": {"terminationGracePeriodSeconds": 0}}, "must be at least 1"),
        ({"metadata": {"labels": {"headway.dev/attempt": "9"}}}, "headway.dev/attempt"),
        ({"metadata": {"name": "mine"}}, "podTemplate.metadata.name"),
        ({"metadata": {"labels": None}}, "labels may not be null"),
        ({"metadata": None}, "metadata may not be null"),
        ({"spec": None}, "spec may not be null"),
        ({"spec": {"containers": None}}, "container must stay"),
        ({"containers": []}, "podTemplate.containers: no such field"),
        (
            {"spec": {"containers": [{"name": TRAINER, "env": [{"name": "HEADWAY_ATTEMPT"}]}]}},
            "HEADWAY_ATTEMPT is set by Headway",
        ),
        (
            {"spec": {"containers": [{"name": TRAINER, "terminationMessagePath": "/x"}]}},
            "terminationMessagePath",
        ),
        ({"spec": {"containers": [{"name": TRAINER, "env": None}]}}, "may not be removed"),
        (
            {"spec": {"containers": [{"name": TRAINER, "restartPolicy": "OnFailure"}]}},
            "would hide how the trainer ended",
        ),
        (
            {
                "spec": {
                    "containers": [
                        {
                            "name": TRAINER,
                            "volumeMounts": [{"mountPath": f"{names.SERVICE_ACCOUNT_PATH}/"}],
                        }
                    ]
                }
            },
            "token may not be replaced",
        ),
        ({"spec": {"containers": "trainer"}}, "shape of a PodTemplateSpec"),
    ],
)
def test_what_must_stay_ours_may_not_be_changed(template, told):
    with pytest.raises(NotAllowedError, match=told):
        check_pod_template(template)


def test_a_pod_template_that_cannot_be_merged_says_where():
    with pytest.raises(NotAllowedError, match=r"podTemplate\.spec\.volumes\[0\]: needs name"):
        made(podTemplate={"spec": {"volumes": [{"emptyDir": {}}]}})


def deep(levels):
    return {"a": deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [{"name": {"a": 1}}]},
        {"containers": [{"name": "side", "env": [{"name": ["A"]}]}]},
        {"nodeSelector": ["gpu"]},
        {"tolerations": 5},
        {"affinity": ["near"]},
        {"affinity": {"podAffinity": ["near"]}},
        {"affinity": deep(600)},
    ],
)
def test_a_pod_template_of_another_shape_is_refused_and_not_tried_for_ever(spec):
    operation = operation_view(
        raw_operation(placement="Host", workers=2, podTemplate={"spec": spec})
    )
    check_pod_template({"spec": spec})
    with pytest.raises(NotAllowedError, match="podTemplate"):
        job_template.job(operation, 1, "headway/trainer:1", restricted=True)


def test_what_the_api_server_can_refuse_is_left_to_it():
    operation = operation_view(raw_operation(podTemplate={"spec": {"initContainers": 5}}))
    assert not job_template.asks_for_the_namespace(operation, "headway/trainer:1")
    job = job_template.job(operation, 1, "headway/trainer:1", restricted=True)
    assert job["spec"]["template"]["spec"]["initContainers"] == 5


def job_of(**spec):
    return job_template.job(operation_view(raw_operation(**spec)), 1, "headway/trainer:1")


def test_the_job_belongs_to_the_operation_and_tries_once():
    job = job_of()
    assert job["metadata"]["name"] == "run-a1"
    [owner] = job["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (UID, True)
    assert job["spec"]["backoffLimit"] == 0
    [rule] = job["spec"]["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"]


def test_a_claim_of_its_own_is_owned_and_a_shared_one_is_not_made():
    own = operation_view(raw_operation(storage={"claimTemplate": {"size": "5Gi"}}))
    claim = job_template.claim(own)
    assert claim["metadata"]["name"] == "run-workspace"
    assert claim["metadata"]["ownerReferences"][0]["uid"] == UID
    assert claim["spec"]["resources"]["requests"] == {"storage": "5Gi"}
    assert "storageClassName" not in claim["spec"]
    shared = operation_view(raw_operation(storage={"existingClaim": {"claimName": "data"}}))
    assert job_template.claim(shared) is None


def test_only_runs_with_our_account_need_it_made():
    assert job_template.needs_trainer_account(job_of())
    own = job_of(podTemplate={"spec": {"serviceAccountName": "mine"}})
    assert not job_template.needs_trainer_account(own)


@pytest.mark.parametrize(
    ("base", "patch", "result"),
    [
        pytest.param({"a": 1}, {"b": 2}, {"a": 1, "b": 2}, id="keys are added"),
        pytest.param({"a": {"x": 1}}, {"a": {"y": 2}}, {"a": {"x": 1, "y": 2}}, id="maps merge"),
        pytest.param({"a": 1, "b": 2}, {"a": None}, {"b": 2}, id="null removes"),
        pytest.param({"args": [1, 2]}, {"args": [3]}, {"args": [3]}, id="plain lists are replaced"),
        pytest.param(
            {"containers": [{"name": "a", "image": "1"}, {"name": "b"}]},
            {"containers": [{"name": "a", "image": "2"}]},
            {"containers": [{"name": "a", "image": "2"}, {"name": "b"}]},
            id="containers merge by name and keep their order",
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {}}}]},
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {}}}]},
            id="a variable's source is replaced as a whole",
        ),
        pytest.param(
            {"volumes": [{"name": "v", "emptyDir": {}}]},
            {"volumes": [{"name": "v", "hostPath": {"path": "/d"}}]},
            {"volumes": [{"name": "v", "hostPath": {"path": "/d"}}]},
            id="so is a volume's",
        ),
        pytest.param(
            {"volumeMounts": [{"mountPath": "/a", "name": "x"}]},
            {"volumeMounts": [{"mountPath": "/a", "readOnly": True}]},
            {"volumeMounts": [{"mountPath": "/a", "name": "x", "readOnly": True}]},
            id="mounts merge by path",
        ),
        pytest.param(
            {}, {"tolerations": [{"key": "k"}]}, {"tolerations": [{"key": "k"}]}, id="new"
        ),
    ],
)
def test_a_strategic_merge(base, patch, result):
    before = json.dumps([base, patch])
    assert merged(base, patch) == result
    assert json.dumps([base, patch]) == before


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        ({"containers": [{"image": "x"}]}, r"containers\[0\]: needs name"),
        ({"containers": ["x"]}, r"containers\[0\]: expected an object"),
        ({"containers": {"name": "x"}}, "expected a list"),
        ({"labels": "x"}, "labels: expected an object"),
        ({"$patch": "replace"}, "patch directives are not supported"),
    ],
)
def test_what_cannot_be_merged_says_where(patch, told):
    with pytest.raises(MergeError, match=told):
        merged({"containers": [{"name": "a"}], "labels": {}}, patch)
