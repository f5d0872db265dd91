"""Errors as a person reads them."""

from __future__ import annotations

import io

import pytest
from headway.client_errors import (
    ClientError,
    Forbidden,
    Invalid,
    NameTaken,
    NotFound,
    NotInstalled,
    TimedOut,
    Unreachable,
    from_answer,
    reasons,
)
from headway_cli.connecting import problem_of
from headway_cli.exits import ExitCode
from headway_cli.options import Where
from headway_cli.problems import Problem, show, show_defect


def test_a_problem_has_object_reason_and_the_next_thing() -> None:
    problem = Problem("x is gone.", why="It was deleted.", todo=["headway list"])
    assert problem.text() == "Error: x is gone.\n  It was deleted.\n  Next: headway list"


def test_several_things_to_do_stand_one_a_line() -> None:
    assert Problem("x", todo=["a", "b"]).text().splitlines()[1:] == ["  Next:", "    a", "    b"]


def test_only_the_first_word_is_coloured() -> None:
    out = io.StringIO()
    show(Problem("x"), out, colour=True)
    assert out.getvalue() == "\x1b[1;31mError:\x1b[0m x\n"


def test_a_defect_of_ours_is_two_lines() -> None:
    out = io.StringIO()
    show_defect(ValueError("one\ntwo"), out)
    first, second = out.getvalue().splitlines()
    assert first == "Error: headway itself went wrong: ValueError: one"
    assert "HEADWAY_DEBUG=1" in second


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("x"), ExitCode.NOT_FOUND),
        (NotInstalled("x"), ExitCode.REFUSED),
        (NameTaken("x"), ExitCode.REFUSED),
        (Invalid("x"), ExitCode.REFUSED),
        (Forbidden("x"), ExitCode.REFUSED),
        (Unreachable("x"), ExitCode.UNREACHABLE),
        (TimedOut("x"), ExitCode.TIMED_OUT),
        (ClientError("x"), ExitCode.FAILED),
    ],
)
def test_every_error_of_the_client_has_an_exit_code(error: ClientError, code: ExitCode) -> None:
    assert problem_of(error, Where()).code is code


def test_the_next_thing_finds_the_same_place() -> None:
    where = Where(namespace="team-a", context="prod")
    assert problem_of(NotFound("x"), where).todo == ("headway list -n team-a --context prod",)
    assert problem_of(NotInstalled("x"), where).todo == ("headway install --context prod",)


def test_labels_that_are_wrong_are_nothing_that_the_schema_explains() -> None:
    refused = from_answer(400, {"message": "found ''"}, "list operations in namespace b")
    assert problem_of(refused, Where()).todo == ("headway list --help",)
    refused = from_answer(422, {"message": "no"}, "create operation a in namespace b")
    assert problem_of(refused, Where()).todo == ("kubectl explain trainop.spec",)


def status(code: int, **more: object) -> ClientError:
    return from_answer(code, {"kind": "Status", **more}, "get operation a in namespace b")


def test_answers_become_errors_by_their_meaning() -> None:
    assert isinstance(status(404, details={"name": "a"}), NotFound)
    assert isinstance(status(404), NotInstalled)
    assert isinstance(status(409, reason="AlreadyExists"), NameTaken)
    assert isinstance(status(422), Invalid)
    assert isinstance(status(400), Invalid)
    assert isinstance(status(403), Forbidden)
    assert isinstance(status(401), Forbidden)
    assert isinstance(status(503), Unreachable)
    assert isinstance(status(429), Unreachable)


def test_a_namespace_that_is_not_there_is_told_apart_from_an_operation() -> None:
    error = status(404, details={"kind": "namespaces", "name": "b"})
    assert "there is no namespace b" in error.message


def test_reasons_are_without_the_parts_that_say_nothing() -> None:
    causes = [
        {
            "field": "spec",
            "message": 'Invalid value: "object": startDate must not be after endDate',
        },
        {"field": "spec", "message": "Invalid value: type is immutable"},
        {
            "field": "spec.dummy.iterations",
            "message": "Invalid value: 0: spec.dummy.iterations in body should be greater than 0",
        },
        {
            "field": "<nil>",
            "message": "Invalid value: null: some validation rules were not checked because ...",
        },
    ]
    assert reasons({"details": {"causes": causes}}) == [
        "spec: startDate must not be after endDate",
        "spec: type is immutable",
        "spec.dummy.iterations: should be greater than 0 (is: 0)",
    ]


def test_every_unknown_field_is_a_reason_of_its_own() -> None:
    message = (
        'TrainingOperation in version "v1alpha1" cannot be handled: strict decoding error: '
        'unknown field "spec.a", unknown field "spec.b"'
    )
    assert reasons({"message": message}) == ['unknown field "spec.a"', 'unknown field "spec.b"']
