"""How a run starts: what it needs is there, its attempt is written down, then its Job is made."""

from __future__ import annotations

from datetime import timedelta

from headway_api import limits
from headway_api.models.status import Attempt
from headway_api.names import KIND, job_name
from headway_api.vocabulary import Phase, Reason

from headway_operator.policies.case import Case, DeleteJob, MakeJob, Note, Plan, ask, say, with_more
from headway_operator.policies.finish import failed
from headway_operator.snapshot import JobView, Question, Refused

PATIENCE_WITH_A_MISSING_OBJECT = 20.0
"""Seconds for which something that the spec names may be missing: one `kubectl apply -f folder/`
may bring it after the operation."""
LOOK_AGAIN = 2.0


def wait_for_what_the_spec_names(case: Case) -> Plan | None:
    """A claim or a ConfigMap that is not there: told at once, and the end if it stays so."""
    if case.attempt:
        return None
    storage, training = case.spec.storage, case.spec.training
    answers = case.snapshot.answers
    needs_claim = storage is not None and storage.existing_claim is not None
    needs_strategy = training is not None and training.strategy.config_map_key_ref is not None
    questions = [
        question
        for question, needed, answer in (
            (Question.CLAIM, needs_claim, answers.claim_problem),
            (Question.STRATEGY, needs_strategy, answers.strategy_problem),
        )
        if needed and answer is None
    ]
    if questions:
        return ask(*questions)
    for reason, problem in (
        (Reason.CLAIM_NOT_FOUND, answers.claim_problem),
        (Reason.CONFIG_NOT_FOUND, answers.strategy_problem),
    ):
        if problem:
            return _missing(case, reason, problem)
    return None


def _missing(case: Case, reason: Reason, problem: str) -> Plan:
    notice = f"missing:{reason}"
    if case.age(notice).total_seconds() >= PATIENCE_WITH_A_MISSING_OBJECT:
        return failed(case, reason, f"{problem} Make it, then make the operation again.")
    plan = say(case, Phase.PENDING, reason, f"{problem} Waiting for it for a moment.")
    return Plan(
        status=plan.status, notices=frozenset({notice}), again_at=case.in_seconds(LOOK_AGAIN)
    )


def wait_out_a_job_of_the_same_name(case: Case) -> Plan | None:
    """Somebody else's Job has the name: it is never adopted."""
    refusal, foreign = case.snapshot.refusal, case.foreign_job
    taken = refusal if refusal and refusal.kind is Refused.NAME_TAKEN else None
    if case.job or case.living or not (foreign or taken):
        return None
    if not case.live:
        return ask(Question.LIVE)
    if foreign:
        problem = _whose(case, foreign)
    elif taken and case.now - taken.at < timedelta(seconds=LOOK_AGAIN):
        problem = f"{taken.what} has the name that this run needs: {taken.message}"
    else:
        return None  # gone by now
    plan = say(case, Phase.PENDING, Reason.NAME_TAKEN, problem)
    return Plan(status=plan.status, again_at=case.in_seconds(LOOK_AGAIN))


def _whose(case: Case, foreign: JobView) -> str:
    if foreign.owner == f"{KIND} {case.operation.name}":
        return f"Job {foreign.name} is left from an earlier run of this name, and goes soon."
    going = "; it is being deleted" if foreign.deleting else "; delete it, or rename this run"
    return f"Job {foreign.name} belongs to {foreign.owner or 'nobody'}{going}."


def begin_the_first_attempt(case: Case) -> Plan | None:
    """The attempt is written to the status before anything of it is made.

    Trainers are fenced by that number, and a Job is only made for an attempt that stands there.
    """
    if case.attempt:
        return None
    return _begin(case, 1)


def _begin(case: Case, number: int) -> Plan:
    job = job_name(case.operation.name, number)
    begun = [*(case.status.attempts or ()), Attempt(number=number, job=job)]
    plan = say(
        case,
        Phase.STARTING,
        Reason.CREATED,
        f"Job {job} is made.",
        attempt=number,
        attempts=begun[-limits.ATTEMPTS_LISTED :],
        next_attempt_time=None,
    )
    return Plan(status=plan.status, actions=(MakeJob(number),))


def begin_the_next_attempt(case: Case) -> Plan | None:
    """After a pause or a rest, and only when nothing of the attempts before runs any more."""
    if not case.between_attempts:
        return None
    due = case.status.next_attempt_time
    if due is not None and case.now < due:
        return Plan(again_at=due)
    if case.living:
        return Plan(again_at=case.in_seconds(LOOK_AGAIN))
    if not case.live:
        return ask(Question.LIVE)
    begun = _begin(case, case.attempt + 1)
    jobs = [j for j in (case.job, *case.snapshot.stray_jobs) if j and not j.deleting]
    # Those that are over keep their pods' logs for people, as many as the status lists.
    kept = case.attempt + 1 - limits.ATTEMPTS_LISTED
    old = tuple(DeleteJob(j.name, j.uid) for j in jobs if j.attempt <= kept)
    return with_more(begun, actions=(*old, *begun.actions), notes=(_going_on(case),))


def _going_on(case: Case) -> Note:
    entry = case.entry
    reached = entry.checkpoint if entry else None
    where = f"from checkpoint {reached}" if reached else "from the start: no checkpoint is known"
    if case.phase is Phase.SUSPENDED:
        return Note("Resumed", f"Resumed: attempt {case.attempt + 1} begins {where}.")
    return Note("Restarted", f"Attempt {case.attempt + 1} begins {where}.")


def make_the_job(case: Case) -> Plan | None:
    """The attempt stands in the status and its Job does not exist.

    This is where a controller goes on that died between the two.
    """
    if case.job or case.living or case.started or case.between_attempts:
        return None
    if case.snapshot.refusal:  # another try; the status goes on telling what was in the way
        return Plan(actions=(MakeJob(case.attempt),))
    plan = say(case, Phase.STARTING, Reason.CREATED, f"Job {case.job_name} is made.")
    return Plan(status=plan.status, actions=(MakeJob(case.attempt),))
