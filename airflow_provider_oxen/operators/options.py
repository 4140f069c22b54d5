"""The arguments of an image operator that do not go to the hub, read after rendering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.images import fetch
from airflow_provider_oxen.jobs import arguments

if TYPE_CHECKING:
    from airflow_provider_oxen.operators.images import ImageGenerateOperator

__all__ = ["Options", "read_options"]


@dataclass(frozen=True)
class Options:
    """What does not go to the hub, read and checked."""

    conn_id: str
    overwrite: bool
    validate: str
    max_bytes: int
    max_cost: float | None
    use_queue: bool
    poll_interval: float
    timeout: float | None
    cancel_on_timeout: bool
    cancel_on_kill: bool
    on_unknown_outcome: Any
    on_changed_request: Any
    lookup_grace: float
    target_repo: str | None
    previews: bool


def read_options(operator: ImageGenerateOperator) -> Options:
    """Return the options, checked.

    :raises OxenInvalidRequest: naming the argument, its value and what is allowed.
    """
    given, boolean, choice = arguments.given, arguments.boolean, arguments.choice
    deferrable = operator.deferrable
    use_queue = boolean("use_queue", given(operator.use_queue, deferrable))
    target_repo = arguments.optional_text("target_repo", operator.target_repo)
    if deferrable and not use_queue:
        raise OxenInvalidRequest(
            "deferrable=True waits for a generation of the queue; use_queue=False asks for none. Nothing was "
            "sent."
        )
    if target_repo and not use_queue:
        raise OxenInvalidRequest("target_repo is a parameter of the queue: set use_queue=True.")
    max_cost = given(operator.max_cost, None)
    timeout = given(operator.timeout, None)
    return Options(
        conn_id=arguments.text("oxen_conn_id", given(operator.oxen_conn_id, OxenHook.default_conn_name)),
        overwrite=boolean("overwrite", given(operator.overwrite, False)),
        validate=choice("validate", given(operator.validate, "error"), ("error", "warn", "off")),
        max_bytes=arguments.positive("max_bytes", given(operator.max_bytes, fetch.MAX_BYTES)),
        max_cost=None if max_cost is None else arguments.number("max_cost", max_cost, above=0),
        use_queue=use_queue,
        poll_interval=arguments.seconds("poll_interval", given(operator.poll_interval, 3.0)),
        timeout=None if timeout is None else arguments.seconds("timeout", timeout),
        cancel_on_timeout=boolean("cancel_on_timeout", given(operator.cancel_on_timeout, False)),
        cancel_on_kill=boolean("cancel_on_kill", given(operator.cancel_on_kill, False)),
        on_unknown_outcome=choice(
            "on_unknown_outcome", given(operator.on_unknown_outcome, "fail"), ("fail", "adopt", "resubmit")
        ),
        on_changed_request=choice(
            "on_changed_request", given(operator.on_changed_request, "fail"), ("fail", "submit")
        ),
        lookup_grace=arguments.seconds("lookup_grace", given(operator.lookup_grace, 60.0)),
        target_repo=target_repo,
        previews=boolean("previews", given(operator.previews, True)),
    )
