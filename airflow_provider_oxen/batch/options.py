"""The arguments of the batch operator that do not go to the hub, read after rendering."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.api.schema import exact_number
from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.images import fetch, names
from airflow_provider_oxen.jobs import arguments

if TYPE_CHECKING:
    from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator

__all__ = ["BatchOptions", "MaxFailures", "read_options"]

MOST_IN_FLIGHT = 256
"""Threads of one task at most, with two connections each: most systems let a process open 1,024 files."""


@dataclass(frozen=True)
class MaxFailures:
    """How many prompts may fail: a count, or a share of all.

    :ivar share: from 0 to 1; None where there is a count.
    """

    count: int | None = None
    share: float | None = None

    def of(self, prompts: int) -> int | None:
        """Return the count for so many prompts; None for any number."""
        return self.count if self.share is None else math.floor(self.share * prompts + 1e-9)


@dataclass(frozen=True)
class BatchOptions:
    """What does not go to the hub, read and checked.

    :ivar folder: of the output, as :func:`~.storage.open_folder` takes it.
    :ivar defaults: the request's fields, as the rows fall back to them.
    """

    conn_id: str
    folder: str
    storage_conn_id: str | None
    prompts_conn_id: str | None
    defaults: dict[str, Any]
    max_in_flight: int
    requests_per_minute: float | None
    max_cost: float | None
    allow_unknown_price: bool
    goes_on: bool
    max_failures: MaxFailures
    use_queue: bool
    overwrite: bool
    validate: str
    max_bytes: int
    poll_interval: float
    timeout: float | None
    on_unknown_outcome: Any
    on_changed_request: Any
    lookup_grace: float
    previews: bool


def read_options(operator: ImageBatchGenerateOperator) -> BatchOptions:
    """Return the options, checked.

    :raises OxenInvalidRequest: naming the argument, its value and what is allowed.
    """
    given, boolean, choice = arguments.given, arguments.boolean, arguments.choice
    use_queue = boolean("use_queue", given(operator.use_queue, True))
    if operator.deferrable and not use_queue:
        raise OxenInvalidRequest(
            "deferrable=True waits for generations of the queue; use_queue=False asks for none. Nothing was "
            "sent."
        )
    storage_conn_id = arguments.optional_text("storage_conn_id", operator.storage_conn_id)
    prompts_conn_id = arguments.optional_text("prompts_conn_id", operator.prompts_conn_id)
    per_minute = given(operator.requests_per_minute, None)
    max_cost = given(operator.max_cost, None)
    timeout = given(operator.timeout, None)
    on_error = choice("on_error", given(operator.on_error, "fail"), ("fail", "continue"))
    max_failures = given(operator.max_failures, None)
    if max_failures is not None and on_error == "fail":
        raise OxenInvalidRequest(
            "max_failures is for on_error='continue': with 'fail' the first one ends it."
        )
    return BatchOptions(
        conn_id=arguments.text("oxen_conn_id", given(operator.oxen_conn_id, OxenHook.default_conn_name)),
        folder=_folder(operator.storage_path),
        storage_conn_id=storage_conn_id,
        prompts_conn_id=prompts_conn_id or storage_conn_id,
        defaults=_defaults(operator),
        max_in_flight=_in_flight(given(operator.max_in_flight, 8)),
        requests_per_minute=None
        if per_minute is None
        else arguments.number("requests_per_minute", per_minute, above=0),
        max_cost=None if max_cost is None else arguments.number("max_cost", max_cost, above=0),
        allow_unknown_price=boolean("allow_unknown_price", given(operator.allow_unknown_price, False)),
        goes_on=on_error == "continue",
        max_failures=_max_failures(max_failures),
        use_queue=use_queue,
        overwrite=boolean("overwrite", given(operator.overwrite, False)),
        validate=choice("validate", given(operator.validate, "error"), ("error", "warn", "off")),
        max_bytes=arguments.positive("max_bytes", given(operator.max_bytes, fetch.MAX_BYTES)),
        poll_interval=arguments.seconds("poll_interval", given(operator.poll_interval, 3.0)),
        timeout=None if timeout is None else arguments.seconds("timeout", timeout),
        on_unknown_outcome=choice(
            "on_unknown_outcome", given(operator.on_unknown_outcome, "fail"), ("fail", "adopt", "resubmit")
        ),
        on_changed_request=choice(
            "on_changed_request", given(operator.on_changed_request, "fail"), ("fail", "submit")
        ),
        lookup_grace=arguments.seconds("lookup_grace", given(operator.lookup_grace, 60.0)),
        previews=boolean("previews", given(operator.previews, True)),
    )


def _defaults(operator: ImageBatchGenerateOperator) -> dict[str, Any]:
    return {
        "model": operator.model,
        "response_format": operator.response_format,
        "image_size": operator.image_size,
        "num_inference_steps": operator.num_inference_steps,
        "seed": operator.seed,
        "target_namespace": operator.target_namespace,
        "model_params": operator.model_params,
    }


def _folder(storage_path: Any) -> str:
    path = arguments.optional_text("storage_path", storage_path)
    if path is None:
        raise OxenInvalidRequest("A batch needs a storage_path, the folder of its images. Nothing was sent.")
    # With or without a slash at its end it is a folder: no batch fits into one file.
    folder, _ = names.locate(path if path.endswith("/") else f"{path}/", "storage_path")
    return folder


def _in_flight(value: Any) -> int:
    count = arguments.positive("max_in_flight", value)
    if count > MOST_IN_FLIGHT:
        raise OxenInvalidRequest(f"max_in_flight must be at most {MOST_IN_FLIGHT}, not {count}.")
    return count


def _max_failures(value: Any) -> MaxFailures:
    if value is None:
        return MaxFailures()
    text = value.strip() if isinstance(value, str) else ""
    number: Any = exact_number(text.removesuffix("%").strip()) if text else value
    if isinstance(number, int | float) and not isinstance(number, bool) and number >= 0:
        if text.endswith("%"):
            if number <= 100:
                return MaxFailures(share=number / 100)
        elif isinstance(number, int):
            return MaxFailures(count=number)
        elif number <= 1:
            return MaxFailures(share=number)
    raise OxenInvalidRequest(
        "max_failures must be a count such as 10, or a share such as 0.05 or '5%', not "
        f"{arguments.shown(value)}."
    )
