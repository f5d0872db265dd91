"""The whole resource: metadata, spec and status."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from headway_api import names
from headway_api.models.base import ApiModel, cel
from headway_api.models.spec import TrainingOperationSpec
from headway_api.models.status import TrainingOperationStatus
from headway_api.vocabulary import Phase

_FINAL = ", ".join(f"'{p}'" for p in Phase if p.is_final)

ROOT_RULES = cel(
    (
        f"self.metadata.name.size() <= {names.MAX_NAME_LENGTH} && "
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        f"the name must be at most {names.MAX_NAME_LENGTH} characters of a-z, 0-9 and '-', "
        "begin with a letter and end with a letter or digit",
    ),
    (
        "!has(oldSelf.status) || !has(oldSelf.status.phase) || "
        f"!(oldSelf.status.phase in [{_FINAL}]) || "
        "(has(self.status) && has(self.status.phase) && self.status.phase == oldSelf.status.phase)",
        "a final phase never changes",
    ),
    (
        "!has(oldSelf.status) || !has(oldSelf.status.attempt) || "
        "(has(self.status) && has(self.status.attempt) && "
        "self.status.attempt >= oldSelf.status.attempt)",
        "status.attempt never falls",
    ),
)
"""Rules over the whole object. Transition rules: they also guard writes of the status."""


class OwnerReference(ApiModel):
    """Who owns an object (only what we read of it)."""

    kind: str
    name: str
    uid: str
    controller: bool = False


class Metadata(ApiModel):
    """The part of an object's metadata that Headway reads."""

    model_config = ConfigDict(extra="ignore")

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: Annotated[dict[str, str], Field(default_factory=dict)]
    annotations: Annotated[dict[str, str], Field(default_factory=dict)]
    owner_references: Annotated[list[OwnerReference], Field(default_factory=list)]


class TrainingOperation(ApiModel):
    """One run: what was asked for, and what is true of it.

    Read one with ``TrainingOperation.model_validate(json_object)``.
    """

    api_version: str = names.API_VERSION
    kind: str = names.KIND
    metadata: Metadata
    spec: TrainingOperationSpec
    status: Annotated[TrainingOperationStatus, Field(default_factory=TrainingOperationStatus)]

    @property
    def phase(self) -> Phase:
        """The phase; Pending while the controller has not said anything."""
        return self.status.phase or Phase.PENDING

    @property
    def is_final(self) -> bool:
        """Whether the run is over for good."""
        return self.phase.is_final

    @property
    def key(self) -> str:
        """``namespace/name``, as logs and queues name it."""
        return f"{self.metadata.namespace}/{self.metadata.name}"


class TrainingOperationList(ApiModel):
    """A list of runs, as the API server returns it."""

    items: Annotated[list[TrainingOperation], Field(default_factory=list)]
    metadata: Annotated[dict[str, str | int], Field(default_factory=dict)]
