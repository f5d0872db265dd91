"""What cannot run is refused, with a reason and a message that a person can act on.

The schema and its CEL rules refuse most bad input before it is stored. What is left: a spec
that only a newer or older version can read, a podTemplate that would take the pod out of our hands,
and whatever the API server refuses when the Job is made.
"""

from __future__ import annotations

from datetime import timedelta

from headway_api.vocabulary import Phase, Reason

from headway_operator.pod_template import NotAllowedError, check_pod_template
from headway_operator.policies.case import Case, Plan, say
from headway_operator.policies.finish import failed
from headway_operator.snapshot import Refused

RETRY_REFUSED = 10.0
"""Seconds until something forbidden is tried again: quotas and roles do change."""


def refuse_a_spec_that_cannot_be_read(case: Case) -> Plan | None:
    """A stored spec that these models do not accept.

    A run that has begun was begun by a version that did. It is not ended for that: it is left as it
    is until such a version is back.
    """
    problem = case.operation.spec_problem
    if case.operation.spec is not None:
        return None
    if not case.attempt:
        return failed(case, Reason.INVALID_SPEC, problem)
    return say(
        case,
        case.phase,
        Reason.INVALID_SPEC,
        "This version of the controller cannot read the spec, and leaves the run as it is until "
        f"one is installed that can: {problem}",
    )


def refuse_a_pod_template_that_is_not_allowed(case: Case) -> Plan | None:
    """A podTemplate that changes what must stay ours."""
    if case.attempt or not case.spec.pod_template:
        return None
    try:
        check_pod_template(case.spec.pod_template)
    except NotAllowedError as error:
        return failed(case, Reason.INVALID_POD, str(error))
    return None


def tell_what_the_server_refused(case: Case) -> Plan | None:
    """The API server would not have the Job: for good, or for now."""
    refusal = case.snapshot.refusal
    if refusal is None or case.job or case.cancel_requested:
        return None
    if refusal.kind is Refused.INVALID:
        return failed(case, Reason.INVALID_POD, f"{refusal.what} was refused: {refusal.message}")
    if refusal.kind is Refused.NAME_TAKEN:
        return None  # whoever has the name is waited out, below
    quota = "exceeded quota" in refusal.message
    reason = Reason.QUOTA_EXCEEDED if quota else Reason.FORBIDDEN
    if case.now - refusal.at >= timedelta(seconds=RETRY_REFUSED):
        return None  # time to try again
    plan = say(
        case,
        Phase.STARTING,
        reason,
        f"{refusal.what} may not be made now; it is tried again until it may: {refusal.message}",
    )
    return Plan(status=plan.status, again_at=refusal.at + timedelta(seconds=RETRY_REFUSED))
