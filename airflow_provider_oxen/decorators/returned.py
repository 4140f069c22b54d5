"""Read what a decorated function returned: one image, or a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from airflow_provider_oxen.api.errors import OxenInvalidRequest, OxenPollError
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.batch.rows import check, from_value

__all__ = ["GoneRows", "is_many", "read_one"]

_WANTED = "a prompt, a mapping that holds one, or a list of them"


def is_many(returned: Any) -> bool:
    """Return whether the value is a list, and so a batch, even a batch of one prompt."""
    return isinstance(returned, Sequence) and not isinstance(returned, str | bytes | bytearray | memoryview)


def read_one(returned: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the exact request for one image, as the operator's arguments in plain JSON.

    A mapping is read like a row of a batch: the operator's own fields override its arguments, and every other
    name is a parameter of the model.

    :param returned: a text, or a mapping.
    :param defaults: the operator's ``model``, ``response_format``, ``image_size``, ``num_inference_steps``,
        ``seed``, ``target_namespace`` and ``model_params``, as rendered.
    :raises OxenInvalidRequest: saying what is wrong with the value.
    """
    raw = from_value(1, returned, _WANTED)
    if raw.problem is not None:
        _refuse(raw.problem)
    if raw.values.get("id") is not None:
        _refuse("has an id, which names a row of a batch: leave it out, or return a list")
    try:
        request = check(raw, defaults).request
    except OxenInvalidRequest as error:
        _refuse(f"cannot be used: {error.message}")
    fields = {name: getattr(request, name) for name in GenerateRequest.model_fields}
    return {**fields, "model_params": request.model_extra or {}}


class GoneRows(Sequence[Any]):
    """Stands for the rows of a batch that has been waited for: only the batch's record holds them."""

    def __len__(self) -> int:
        self._tell()

    def __getitem__(self, index: Any) -> Any:
        self._tell()

    def _tell(self) -> NoReturn:
        raise OxenPollError(
            "The record of the batch is gone from its folder, and with it what the function returned; the "
            "function is not called again in this try.",
            money="Generations may have been paid for.",
            retry="The next try calls the function, and finds the generations of the rows that it returns "
            "again.",
        )


def _refuse(clause: str) -> NoReturn:
    raise OxenInvalidRequest(f"What the function returned {clause.rstrip('.')}.") from None
