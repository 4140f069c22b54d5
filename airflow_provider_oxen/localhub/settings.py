"""The settings of a local hub, for before it starts and while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError

from airflow_provider_oxen.localhub.catalogue import default_catalogue

__all__ = ["HubSettings", "reasons"]

Layout = Literal["classic", "ai"]
_USER = {"name": "local-user", "email": "local-user@example.com"}


def reasons(error: ValidationError) -> str:
    """Return what is wrong, in one line: the name of each value, the reason, and the value."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc']))}: {item['msg']} (given: {item['input']!r})"
        for item in error.errors()
    )


def _layouts(value: Any) -> Any:
    if isinstance(value, str):
        return frozenset(get_args(Layout) if value == "both" else (value,))
    return frozenset(value) if isinstance(value, list | tuple | set) else value


def _catalogue(value: Any) -> list[dict[str, Any]]:
    # Keep the caller's list, where pydantic would copy it: the caller may change it while the hub runs.
    if not isinstance(value, list) or not all(isinstance(item, dict) and "id" in item for item in value):
        raise ValueError("must be a list of models, each with an id")
    return value


Text = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(ge=0)]
Pixels = Annotated[int, Field(ge=0)]


class HubSettings(BaseModel):
    """Settings of a local hub. A change to a running hub's settings takes effect with the next request.

    An unknown name or a value of the wrong type is an error at once: a test whose setting has no effect would
    pass for the wrong reason. The table "Settings" in docs/testing-your-dags.md gives the meaning and the
    unit of each.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    key: Text = Field(default="local-key", repr=False)
    latency: Seconds = 0.0
    at_once: Annotated[int, Field(ge=1)] | None = None
    queue_wait: Seconds = 0.0
    workers: Annotated[int, Field(ge=0)] | None = None
    queue_bills: Literal["success", "enqueue"] = "success"
    row_keys: Literal["model_name", "model"] = "model_name"
    list_delay: Seconds = 0.0
    detail_delay: Seconds = 0.0
    cancel_ended: Literal["error", "ignore"] = "error"
    history_detail: Literal["wrapped", "bare"] = "wrapped"
    history_shows_generate: bool = False
    keep_alive: Seconds = 15.0
    credits: Annotated[float, Field(ge=0)] = 1000.0
    url_ttl: float = 600.0
    sign_anew: bool = False
    layouts: Annotated[frozenset[Layout], BeforeValidator(_layouts)] = frozenset(get_args(Layout))
    rate_limit: Annotated[int, Field(ge=0)] | None = None
    rate_window: Seconds = 60.0
    namespaces: tuple[Text, ...] = Field(default=("local-user", "local-org"), min_length=1, strict=False)
    user: dict[str, str] = Field(default_factory=_USER.copy)
    users_me: bool = True
    authorize: bool = True
    answer: Literal["images", "image_url"] = "images"
    error_shape: Literal["typed", "message"] = "typed"
    files_need_key: bool = False
    files_origin: Text | None = None
    default_size: tuple[Pixels, Pixels] = Field(default=(1024, 1024), strict=False)
    ready_made: bool = False
    ready_made_bytes: Annotated[int, Field(ge=0)] = 0
    clock_ahead: float = 0.0
    catalogue: Annotated[list[dict[str, Any]], PlainValidator(_catalogue)] = Field(
        default_factory=default_catalogue, repr=False
    )

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def as_dict(self) -> dict[str, Any]:
        """Return all settings except the key as plain JSON values."""
        return {**self.model_dump(exclude={"key"}), "layouts": sorted(self.layouts)}

    def update(self, values: Mapping[str, Any]) -> None:
        """Set several values; if one of them is wrong, set none.

        :raises ValueError: naming the setting and what it takes.
        """
        try:
            read = HubSettings.model_validate({"catalogue": [], **values})
        except ValidationError as error:
            raise ValueError(reasons(error)) from error
        # Set only these values, where pydantic's own assignment would set all: the hub's thread may change
        # the credits meanwhile.
        self.__dict__.update({name: getattr(read, name) for name in values})
