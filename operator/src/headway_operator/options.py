"""What the operator is told when it starts: flags, each with an environment variable beside it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headway_api import names
from headway_api.version import __version__

ENVIRONMENT_PREFIX = "HEADWAY_OPERATOR_"


@dataclass(frozen=True, slots=True)
class Options:
    """How to run."""

    listen_address: str
    port: int
    namespaces: tuple[str, ...]
    trainer_image: str
    record_requesters: bool
    log_format: str
    log_level: str
    workers: int
    kubeconfig: Path | None
    context: str | None


def parse(arguments: Sequence[str], env: Mapping[str, str] = os.environ) -> Options:
    """Read flags; what no flag says, the environment does.

    Raises:
        SystemExit: a flag is wrong; argparse has said why.
    """

    def default(name: str, otherwise: str) -> str:
        return env.get(ENVIRONMENT_PREFIX + name) or otherwise

    parser = argparse.ArgumentParser(
        prog="headway-operator",
        description="Runs TrainingOperations as Jobs. Every flag can also be set as "
        f"{ENVIRONMENT_PREFIX}<FLAG>, such as {ENVIRONMENT_PREFIX}LOG_FORMAT.",
    )
    parser.add_argument(
        "--listen-address",
        default=default("LISTEN_ADDRESS", "127.0.0.1"),
        help="address of /healthz, /readyz and /metrics (in a pod: its IP)",
    )
    parser.add_argument("--port", type=int, default=default("PORT", "8080"), help="their port")
    parser.add_argument(
        "--namespaces",
        default=default("NAMESPACES", ""),
        help="namespaces to serve, separated by commas; all of them if empty",
    )
    parser.add_argument(
        "--trainer-image",
        default=default("TRAINER_IMAGE", names.default_trainer_image(__version__)),
        help="image of runs that name none",
    )
    parser.add_argument(
        "--record-requesters",
        action="store_true",
        default=default("RECORD_REQUESTERS", "") == "true",
        help=f"record who cancels, from the annotation {names.ANNOTATION_CANCEL_REQUESTED_BY}: "
        "only where an admission policy sees to it that nobody else writes it",
    )
    parser.add_argument(
        "--log-format", choices=("json", "text"), default=default("LOG_FORMAT", "json")
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default=default("LOG_LEVEL", "info"),
    )
    parser.add_argument(
        "--workers", type=int, default=default("WORKERS", "16"), help="operations worked on at once"
    )
    parser.add_argument(
        "--kubeconfig", type=Path, help="outside of a cluster: the kubeconfig to use"
    )
    parser.add_argument("--context", help="context of that kubeconfig; its current one if left out")
    given = parser.parse_args(arguments)
    return Options(
        listen_address=given.listen_address,
        port=given.port,
        namespaces=tuple(n.strip() for n in given.namespaces.split(",") if n.strip()),
        trainer_image=given.trainer_image,
        record_requesters=given.record_requesters,
        log_format=given.log_format,
        log_level=given.log_level,
        workers=given.workers,
        kubeconfig=given.kubeconfig,
        context=given.context,
    )
