"""Who this process works for, when it runs in a trainer pod."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headway_api import environment, names


@dataclass(frozen=True)
class PodIdentity:
    """The operation and attempt that this pod runs, as the controller's environment says.

    Attributes:
        service_account: folder with ``token``, ``ca.crt`` and ``namespace``.
        server: base URL of the API server.
        termination_message: file for the container's last words.
        rank: which of several workers this is, from 0.
    """

    name: str
    namespace: str
    uid: str
    attempt: int
    server: str
    service_account: Path
    termination_message: Path
    rank: int = 0

    @property
    def reports(self) -> bool:
        """Whether this process speaks for the run: of several workers, the first one does."""
        return self.rank == 0

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> PodIdentity | None:
        """The identity, or None where this is no trainer pod."""
        env = os.environ if env is None else env
        name, uid = env.get(environment.OPERATION_NAME), env.get(environment.OPERATION_UID)
        host = env.get("KUBERNETES_SERVICE_HOST")
        if not name or not uid or not host:
            return None
        port = env.get("KUBERNETES_SERVICE_PORT", "443")
        host = f"[{host}]" if ":" in host else host
        return cls(
            name=name,
            namespace=env.get(environment.OPERATION_NAMESPACE, "default"),
            uid=uid,
            attempt=int(env.get(environment.ATTEMPT, "1")),
            server=f"https://{host}:{port}",
            service_account=Path(
                env.get(environment.SERVICE_ACCOUNT_DIR) or names.SERVICE_ACCOUNT_PATH
            ),
            termination_message=Path(
                env.get(environment.TERMINATION_MESSAGE_PATH) or names.TERMINATION_MESSAGE_PATH
            ),
            rank=int(rank) if (rank := env.get("RANK", "")).isdigit() else 0,
        )

    @property
    def path(self) -> str:
        """The operation's path on the API server."""
        return f"/apis/{names.API_VERSION}/namespaces/{self.namespace}/{names.PLURAL}/{self.name}"

    @property
    def collection(self) -> str:
        """The path of the operations of its namespace."""
        return f"/apis/{names.API_VERSION}/namespaces/{self.namespace}/{names.PLURAL}"
