"""What can go wrong between a client and a cluster, in words for a person.

ClientError
 +- NotFound           there is no such object, or namespace
 +- NotInstalled       this cluster does not know TrainingOperations
 +- Refused            the cluster said no, and would say it again
 |   +- Invalid        the object is wrong
 |   +- NameTaken      an object of that name exists
 |   +- Forbidden      a role, a quota or a policy is against it
 +- Unreachable        no cluster is configured, or it does not answer
 +- TimedOut           what was waited for did not happen in time
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any


class ClientError(Exception):
    """Something went wrong between this client and the cluster.

    Args:
        message: one sentence that names the object and what happened.
        details: the server's own words, one reason each.
    """

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__("\n".join([message, *details]))
        self.message = message
        self.details = tuple(details)


class NotFound(ClientError):  # noqa: N818 - the name that clients catch: what is said, not that it is an error
    """There is no such object, or no such namespace."""


class NotInstalled(ClientError):  # noqa: N818
    """The cluster does not know the TrainingOperation resource."""


class Refused(ClientError):  # noqa: N818
    """The cluster said no, and would say it again."""


class Invalid(Refused):
    """The object is wrong: a field that does not exist, a value or a rule."""


class NameTaken(Refused):
    """An object of that name exists already."""


class Forbidden(Refused):
    """A role, a quota or an admission policy is against it."""


class Unreachable(ClientError):  # noqa: N818
    """No cluster is configured, or the one that is does not answer."""


class TimedOut(ClientError):  # noqa: N818
    """What was waited for did not happen in time."""


def from_answer(status: int, body: Mapping[str, Any], doing: str) -> ClientError:
    """The error that an answer of the API server means.

    Args:
        status: its HTTP status code.
        body: its ``Status`` object; empty where the answer was none.
        doing: what was tried, such as ``get operation dummy in namespace default``.
    """
    said = str(body.get("message") or "").strip()
    details = reasons(body)
    if status == 404:
        if "could not find the requested resource" in said or not body.get("details"):
            return NotInstalled(f"Cannot {doing}: this cluster does not know that kind of object.")
        missing = body["details"]
        if missing.get("kind") == "namespaces":
            return NotFound(f"Cannot {doing}: there is no namespace {missing.get('name')}.")
        return NotFound(f"Cannot {doing}: it does not exist.")
    if status == 409 and body.get("reason") == "AlreadyExists":
        return NameTaken(f"Cannot {doing}: the name is taken.")
    if status in (400, 422):
        return Invalid(f"The cluster refused to {doing}: it is not valid.", details)
    if status == 401:
        return Forbidden(f"Cannot {doing}: the cluster does not accept your credential.", details)
    if status == 403:
        return Forbidden(f"You may not {doing}.", details)
    if status == 429 or status >= 500:
        return Unreachable(f"Cannot {doing}: the API server answered {status}.", details)
    return Refused(f"The cluster refused to {doing} (status {status}).", details)


_RULE = re.compile(r"^Invalid value: (?:\"object\": )?(?=[a-z])")
_SCHEMA = re.compile(r"^Invalid value: (.+?): \S+ in body (should .+)$")
_UNSAID = "some validation rules were not checked"
"""CEL rules are not run on an object that the schema refused: said beside the real reason."""
_NO_FIELD = frozenset({"", "null", "<nil>"})
_STRICT = re.compile(r'(?:unknown|duplicate) field "[^"]+"')


def reasons(body: Mapping[str, Any]) -> list[str]:
    """Why the API server refused, one reason each, without the parts that say nothing."""
    causes = (body.get("details") or {}).get("causes") or ()
    out = []
    for cause in causes:
        message = _RULE.sub("", str(cause.get("message", "")).strip())
        message = _SCHEMA.sub(r"\2 (is: \1)", message)
        field = str(cause.get("field", ""))
        if _UNSAID in message:
            continue
        if message:
            out.append(f"{field}: {message}" if field not in _NO_FIELD else message)
    if not out:
        message = str(body.get("message") or "").strip()
        out = _STRICT.findall(message)
        if message and not out:
            out = [message]
    return list(dict.fromkeys(out))
