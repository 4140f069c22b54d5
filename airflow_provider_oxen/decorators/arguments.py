"""The arguments of ``@task.oxen_image``: those of two operators; what the function returns chooses one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["FOR_MANY", "FOR_NONE", "FOR_ONE", "REQUEST", "check_arguments", "check_function", "given"]

FOR_ONE = ("cancel_on_timeout", "cancel_on_kill", "target_repo")
"""What the operator of one image takes, and that of a batch does not."""

FOR_MANY = ("max_in_flight", "requests_per_minute", "allow_unknown_price", "on_error", "max_failures")
"""What the operator of a batch takes, and that of one image does not."""

FOR_NONE = ("prompt", "prompts", "prompts_conn_id")
"""What the function stands for."""

REQUEST = (
    "model",
    "response_format",
    "image_size",
    "num_inference_steps",
    "seed",
    "target_namespace",
    "model_params",
)
"""What a returned mapping may override."""


def check_arguments(kwargs: Mapping[str, Any]) -> None:
    """Refuse what is wrong whatever the function returns.

    :raises TypeError: naming the arguments.
    """
    if unused := [name for name in FOR_NONE if name in kwargs]:
        raise TypeError(
            f"@task.oxen_image takes no {', '.join(unused)}: what the function returns is what is drawn."
        )
    if kwargs.get("multiple_outputs"):
        raise TypeError("@task.oxen_image has one output, its operator's result: leave multiple_outputs out.")
    one, many = given(kwargs, FOR_ONE), given(kwargs, FOR_MANY)
    if one and many:
        raise TypeError(
            f"@task.oxen_image takes {', '.join(one)} for one image, and {', '.join(many)} for a list of "
            "them; a function returns the one or the other."
        )


def check_function(function: Callable[..., Any]) -> None:
    """Refuse a function that does not return anything when it is called.

    :raises TypeError: saying what it is.
    """
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("@task.oxen_image takes a plain function, not an async one.")
    if inspect.isgeneratorfunction(function):
        raise TypeError("@task.oxen_image takes a function that returns, not one that yields: return a list.")


def given(kwargs: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return those of the names that were given a value."""
    return [name for name in names if kwargs.get(name) is not None]
