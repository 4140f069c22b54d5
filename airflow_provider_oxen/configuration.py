"""Site-wide defaults: the section ``[oxen]`` of Airflow's configuration.

They are read when a Dag file is parsed, as the defaults in the operators' signatures. An argument of the task
or of ``default_args`` takes precedence, also an explicit None. Reading them connects to nothing.
"""

from __future__ import annotations

import math

from airflow.providers.common.compat.sdk import AirflowConfigException, conf

__all__ = ["SECTION", "deferrable", "max_cost", "previews", "storage_path", "view_originals"]

SECTION = "oxen"

_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
"""The words that Airflow accepts for its own booleans."""


def deferrable() -> bool:
    """Return the default of ``deferrable``; without one in the section, ``[operators] default_deferrable``.

    :raises AirflowConfigException: naming section and option, like the other functions here.
    """
    value = _boolean("deferrable")
    return conf.getboolean("operators", "default_deferrable", fallback=False) if value is None else value


def previews() -> bool:
    """Return the default of ``previews``."""
    value = _boolean("previews")
    return True if value is None else value


def max_cost() -> float | None:
    """Return the default of ``max_cost`` in USD; None for no limit."""
    value = _text("max_cost")
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise _wrong("max_cost", "a number of USD above 0, such as 5 or 0.5", value)
    return number


def storage_path() -> str | None:
    """Return the default of ``storage_path``, a folder, which may be a template; None for no folder."""
    value = _text("storage_path")
    if value is not None and not value.endswith("/"):
        raise _wrong("storage_path", "a folder that ends in /, since all tasks share it")
    return value


def view_originals() -> tuple[str, ...]:
    """Return the folders from which the Images view may open originals; by default there are none."""
    prefixes = tuple(part.strip() for part in (_text("view_originals") or "").split(",") if part.strip())
    if any(not prefix.endswith("/") for prefix in prefixes):
        raise _wrong("view_originals", "a list of folders, separated by commas, each of which ends in /")
    return prefixes


def _text(option: str) -> str | None:
    """Return the value that is set, or None."""
    return (conf.get(SECTION, option, fallback=None) or "").strip() or None


def _boolean(option: str) -> bool | None:
    value = _text(option)
    if value is None:
        return None
    # Airflow also allows a comment after a value.
    found = _BOOLEANS.get(value.split("#")[0].strip().lower())
    if found is None:
        raise _wrong(option, "True or False", value)
    return found


def _wrong(option: str, rule: str, value: str | None = None) -> AirflowConfigException:
    """Return the error for a wrong value.

    :param value: the value to show; a path may hold a password.
    """
    shown = "" if value is None else f", not {value[:50]!r}"
    return AirflowConfigException(
        f"[{SECTION}] {option} in Airflow's configuration must be {rule}{shown}. It is set in airflow.cfg, "
        f"or as the environment variable AIRFLOW__{SECTION.upper()}__{option.upper()}."
    )
