"""The environment of a program in a trainer pod whose API server does not answer."""

from __future__ import annotations

from pathlib import Path


def unanswered(folder: Path) -> dict[str, str]:
    """Its variables; its token is written to ``folder``, its last words go to ``message`` there."""
    (folder / "token").write_text("t")
    return {
        "HEADWAY_OPERATION_NAME": "a",
        "HEADWAY_OPERATION_UID": "u",
        "HEADWAY_OPERATION_NAMESPACE": "default",
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": "1",
        "HEADWAY_SERVICE_ACCOUNT_DIR": str(folder),
        "HEADWAY_TERMINATION_MESSAGE_PATH": str(folder / "message"),
    }
