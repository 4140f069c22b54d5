"""Who asks: the name that stays the same over all tries of one task instance."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

__all__ = ["Identity"]


class Identity(NamedTuple):
    """A task instance, whichever try of it.

    :ivar map_index: -1 for a task that is not mapped.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int

    @property
    def key(self) -> str:
        """The identity as 64 hexadecimal characters, for file names and derived seeds."""
        return hashlib.sha256(json.dumps(list(self)).encode()).hexdigest()
