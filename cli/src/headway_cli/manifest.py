"""Manifests in files: read, checked before they are sent, and written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from headway_api import names

from headway_cli.problems import usage
from headway_cli.spelling import nearest, unknown_fields

STDIN = "-"
"""Stands for standard input where a file can stand."""

Manifest = dict[str, Any]


def read(file: str) -> list[Manifest]:
    """The TrainingOperations of a YAML or JSON file, each checked for fields that do not exist.

    Args:
        file: its path, or ``-`` for standard input.

    Raises:
        Problem: it cannot be read, is no YAML, or holds something else or something wrong.
    """
    import yaml

    from headway_cli import kubectl_yaml

    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise usage(f"{file} cannot be read.", why=_in_words(error)) from error
    try:
        documents = [found for found in kubectl_yaml.documents(text) if found is not None]
    except yaml.YAMLError as error:
        raise usage(f"{file} is no YAML.", why=str(error)) from error
    if not documents:
        raise usage(f"{file} is empty.", todo=["headway submit dummy --dry-run    (an example)"])
    return [checked(document, file) for document in documents]


def checked(document: Any, file: str) -> Manifest:
    """The document, if it is a TrainingOperation without unknown fields.

    Raises:
        Problem: it is not; every unknown field is named with the one that was probably meant.
    """
    if not isinstance(document, dict):
        raise usage(f"{file} holds no object.", why=f"It begins with {str(document)[:40]!r}.")
    kind, version = document.get("kind"), document.get("apiVersion")
    if kind != names.KIND:
        guess = nearest(str(kind), [names.KIND])
        hint = f"; did you mean {guess}?" if guess else ""
        raise usage(
            f"{file} holds an object of kind {kind}, not {names.KIND}{hint}",
            todo=[] if guess else [f"kubectl apply -f {file}"],
        )
    if version != names.API_VERSION:
        raise usage(
            f"{file} has apiVersion {version}; this headway knows {names.API_VERSION}.",
        )
    for part in ("metadata", "spec"):
        if not isinstance(document.get(part), dict):
            raise usage(
                f"{file} holds a {names.KIND} without {part}, or with one that has no fields.",
                todo=["headway submit dummy --dry-run    (an example)"],
            )
    name = document["metadata"].get("name")
    what = f"{file} ({name})" if name else file
    found = [unknown.text() for unknown in unknown_fields(document, _schema())]
    if found:
        raise usage(
            f"{what} has {'fields' if len(found) > 1 else 'a field'} that TrainingOperation does "
            "not have.",
            why="\n".join(found),
            todo=["kubectl explain trainop.spec --recursive"],
        )
    return document


def written(objects: list[Manifest]) -> str:
    """The objects as YAML, one document each."""
    import yaml

    return yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True, width=100)


def _schema() -> dict[str, Any]:
    from headway_api.crd.schema import root_schema

    schema = root_schema()
    # The API server knows what else metadata may hold, and checks that itself.
    schema["properties"]["metadata"]["x-kubernetes-preserve-unknown-fields"] = True
    return schema


def _in_words(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
