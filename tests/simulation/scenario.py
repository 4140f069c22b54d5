"""What does not change within a history: the task, its user's wishes, and the hub's ways."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Attempt", "Clearing", "Scenario"]


@dataclass(frozen=True)
class Clearing:
    """The tries from one clearing of a task to the next."""

    tries: int = 3
    overwrite: bool = False
    on_unknown: str = "fail"
    request: str = "apple"
    on_changed: str = "fail"


@dataclass(frozen=True)
class Scenario:
    """What does not change within a history.

    :param home: of the record; "file" is beside the output, "store" alone keeps the image in XCom.
    :param seed: ``drawn`` by us (derived from what names the job), the ``user's``, or ``none`` that the
        model takes; ``directory``: the request names the task's own one.
    :param freezes: whether a process may be stopped, and go on beside its successor.
    :param asked: whether Airflow can be asked which try it runs.
    :param vanishes: whether places of the record may be emptied between two tries.
    :param alters: whether somebody may alter the record of what may have been sent between two tries.
    :param order: how twins take turns: ``step`` by step, or one ``after`` the other.
    :param retry_delay: seconds between two tries.
    """

    endpoint: str = "queue"
    home: str = "store"
    folder: bool = True
    seed: str = "drawn"
    clearings: tuple[Clearing, ...] = (Clearing(),)
    twins: int = 1
    order: str = "after"
    shared: bool = False
    echoes: bool = True
    deferred: bool = False
    cancels: bool = False
    answers: str = "url"
    shows_calls: bool = False
    too_late: bool = False
    retry_delay: float = 5.0
    max_cost: float | None = None
    freezes: bool = False
    asked: bool = True
    vanishes: bool = False
    alters: bool = False


@dataclass
class Attempt:
    """How a try ended: with the image of a job, with an error, or with neither: by death.

    :ivar blind: whether it could not read its record, or make its request, and so knows of nothing.
    :ivar frozen: whether it was stopped, and Airflow has taken it for dead.
    """

    clearing: int
    number: int
    nonce: str
    image: str | None = None
    error: BaseException | None = None
    plan: Clearing = field(default_factory=Clearing)
    blind: bool = False
    frozen: bool = False

    @property
    def died(self) -> bool:
        return self.image is None and self.error is None
