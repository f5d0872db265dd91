"""A Job that is held back: by Kueue, until there is room for it, or by whoever suspended it."""

from __future__ import annotations

from headway_api.vocabulary import Phase, Reason

from headway_operator.policies.case import Case, Plan, ask, say
from headway_operator.snapshot import Question

PATIENCE = 30.0
"""Seconds after which somebody who waits is told that nobody may be there to start the Job."""
LOOK_AGAIN = 60.0


def wait_in_the_queue(case: Case) -> Plan | None:
    """The run is Queued while its Job is held back; its pods, if it had any, are gone."""
    job = case.job
    if job is None or not job.suspended or job.over or job.deleting or case.living:
        return None
    notice = f"{job.uid}:queued"
    waited = case.age(notice).total_seconds()
    if job.queue and waited >= PATIENCE and case.snapshot.answers.kueue is None:
        return ask(Question.KUEUE)
    again = case.moment(notice, PATIENCE) if waited < PATIENCE else case.in_seconds(LOOK_AGAIN)
    plan = say(case, Phase.QUEUED, Reason.QUEUED, _words(case, job.name, job.queue))
    return Plan(status=plan.status, notices=frozenset({notice}), again_at=again)


def _words(case: Case, job: str, queue: str) -> str:
    back = " again: its pods were taken away, and it goes on from its checkpoint" * case.started
    if not queue:
        return f"Job {job} is suspended{back}, and starts when somebody resumes it."
    if case.snapshot.answers.kueue is False:
        return (
            f"The run waits in queue {queue}{back}, but Kueue is not installed in this cluster: "
            "nobody will start it. Install Kueue, or make the run without queueName."
        )
    return f"The run waits in queue {queue}{back}; Kueue starts it when there is room."
