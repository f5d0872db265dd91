"""The admission policy that fences trainers agrees with the code beside it."""

from __future__ import annotations

import re
from pathlib import Path

import forbidden
import pytest
import yaml
from headway_api import names
from headway_api.models import TrainingOperationStatus
from headway_api.models.status import TRAINERS_OWN
from headway_api.vocabulary import Phase

ROOT = Path(__file__).resolve().parents[3]
MANIFESTS = ROOT / "cli" / "src" / "headway_cli" / "manifests" / "headway.yaml"


@pytest.fixture(scope="module")
def objects():
    return {o["kind"]: o for o in yaml.safe_load_all(MANIFESTS.read_text())}


@pytest.fixture(scope="module")
def policy(objects):
    return objects["ValidatingAdmissionPolicy"]["spec"]


def variable(policy, name):
    return next(v["expression"] for v in policy["variables"] if v["name"] == name)


def test_a_policy_that_cannot_be_asked_lets_nothing_pass(policy, objects):
    assert policy["failurePolicy"] == "Fail"
    assert objects["ValidatingAdmissionPolicyBinding"]["spec"]["validationActions"] == ["Deny"]
    named = objects["ValidatingAdmissionPolicyBinding"]["spec"]["policyName"]
    assert named == objects["ValidatingAdmissionPolicy"]["metadata"]["name"]


def test_the_policy_leaves_out_the_controller_only(policy):
    expressions = [c["expression"] for c in policy["matchConditions"]]
    account = f"system:serviceaccount:{names.OPERATOR_NAMESPACE}:headway-operator"
    assert expressions == [
        "request.userInfo.username.startsWith('system:serviceaccount:')",
        f"request.userInfo.username != '{account}'",
    ]


def test_the_policy_knows_what_is_the_trainers(policy):
    assert variable(policy, "trainers") == str(list(TRAINERS_OWN))


def test_a_write_of_every_field_of_the_controller_is_among_the_forbidden_requests():
    fields = {f.alias or name for name, f in TrainingOperationStatus.model_fields.items()}
    assert set(forbidden.CONTROLLERS) == fields - set(TRAINERS_OWN)


def test_the_policy_knows_every_final_phase(policy):
    final = str([phase.value for phase in Phase if phase.is_final])
    assert any(final in check["expression"] for check in policy["validations"])


@pytest.mark.parametrize("pod", ["run-a3-bcdfg", "run-a3-0-bcdfg", "run-a3-12-24679"])
def test_the_policy_knows_the_names_of_our_pods(policy, pod):
    assert pod.startswith(names.job_name("run", 3))
    pattern = re.sub(
        r".*variables\.pod\.matches\((.*)\)", r"\1", variable(policy, "podOfThisAttempt")
    )
    spelt = "".join(
        {"oldObject.metadata.name": "run", "string(variables.attempt)": "3"}.get(
            part.strip(), part.strip().strip("'")
        )
        for part in pattern.split("+ ")
    )
    assert re.fullmatch(spelt, pod)


def test_every_refusal_says_what_was_wrong(policy):
    for check in policy["validations"]:
        assert check["reason"] in ("Forbidden", "Invalid")
        assert check["messageExpression"]
