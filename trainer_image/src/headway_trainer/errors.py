"""What can go wrong in the services, for people.

Every message names the object, the reason and the next thing to do::

    ServiceError
    ├── InputError        what was asked for cannot be done as it stands
    ├── DataError         data is missing, unreadable or not offered
    │   └── DataLoadError nothing of what was asked for could be loaded
    └── TrainingError     training cannot begin or cannot go on
"""

from __future__ import annotations


class ServiceError(Exception):
    """Base of the services' errors."""


class InputError(ServiceError, ValueError):
    """What was asked for cannot be done as it stands."""


class DataError(ServiceError):
    """Data is missing, unreadable or not offered."""


class DataLoadError(DataError):
    """Nothing of what was asked for could be loaded."""


class TrainingError(ServiceError):
    """Training cannot begin or cannot go on."""
