"""The ServiceAccount that trainers of a namespace run as, and its binding.

Made in a namespace when it is first needed, and owned by nobody: the next run needs it, too.
"""

from __future__ import annotations

import contextlib
import time

from headway_api import names

from headway_operator.api import ROLE_BINDINGS, SERVICE_ACCOUNTS, AlreadyExistsError, ApiClient

BELIEVED_FOR = 300.0
"""Seconds for which an account that was seen is believed to be there."""


class TrainerAccounts:
    """Sees to it that namespaces have their trainers' account."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._seen: dict[str, float] = {}

    async def ensure(self, namespace: str) -> None:
        """Make the account and its binding, unless they are known to be there.

        Raises:
            ApiError: they could not be made.
        """
        if time.monotonic() - self._seen.get(namespace, float("-inf")) < BELIEVED_FOR:
            return
        metadata = {
            "name": names.TRAINER_SERVICE_ACCOUNT,
            "namespace": namespace,
            "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
        }
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": names.TRAINER_CLUSTER_ROLE,
            },
            "subjects": [
                {
                    "kind": "ServiceAccount",
                    "name": names.TRAINER_SERVICE_ACCOUNT,
                    "namespace": namespace,
                }
            ],
        }
        for kind, body in ((SERVICE_ACCOUNTS, account), (ROLE_BINDINGS, binding)):
            with contextlib.suppress(AlreadyExistsError):
                await self._api.create(kind, namespace, body)
        self._seen[namespace] = time.monotonic()

    def doubt(self, namespace: str) -> None:
        """Somebody misses the account: make sure of it the next time."""
        self._seen.pop(namespace, None)
