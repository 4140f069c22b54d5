"""What the sensors that can hand their waiting to a trigger have in common."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    BaseSensorOperator,
)

from airflow_provider_oxen import configuration

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import BaseTrigger

__all__ = ["DeferringSensor"]

_ARGUMENTS = "arguments"
"""What the arguments are kept under."""


class DeferringSensor(BaseSensorOperator):
    """A sensor that looks once in the worker, and then may leave the waiting to a trigger.

    ``poke`` defers by itself where that is wanted: so Airflow's own loop around it judges ``soft_fail``,
    ``silent_fail`` and ``never_fail`` of the first look, in every mode.

    :param deferrable: wait in the triggerer, without a worker. None: as ``[oxen] deferrable`` says,
        else ``[operators] default_deferrable``.
    """

    def __init__(self, *, deferrable: bool | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if deferrable is None:
            deferrable = configuration.deferrable()
        self.deferrable = deferrable

    def leave_to(self, trigger: BaseTrigger, deadline: float, arguments: Mapping[str, Any]) -> NoReturn:
        """Defer, and come back in ``execute_complete`` with the trigger's event.

        :param deadline: unix seconds at which the sensor's ``timeout`` has passed; the next wait goes on
            counting from it.
        :param arguments: as they were read: the sensor that comes back is made anew, and may have others.
        """
        from airflow_provider_oxen.triggers._base import SECONDS

        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            kwargs={"deadline": deadline, _ARGUMENTS: dict(arguments)},
            # An end that comes just in time is told a little later.
            timeout=timedelta(seconds=max(0.0, deadline - time.time()) + SECONDS),
        )

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Turn what a retry cannot mend into a failure without retry."""
        from airflow_provider_oxen.api.errors import OxenError
        from airflow_provider_oxen.hooks.failures import for_airflow

        with for_airflow():
            try:
                yield
            except OxenError as error:
                if self.soft_fail and not error.retry_helps:
                    # Airflow makes a skip of the failure, and keeps the reason to itself.
                    self.log.error("%s", error)
                raise

    def timed_out(self) -> AirflowSensorTimeout:
        """Return the error that Airflow's own sensors raise at the end of ``timeout``."""
        message = f"Sensor has timed out: it waited longer than {self.timeout:g} seconds."
        if self.soft_fail:
            self.log.error("%s", message)
        return AirflowSensorTimeout(message)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Come back from the trigger, with the arguments that the sensor was deferred with."""
        kept = dict(next_kwargs or {})
        # Earlier versions kept none. A subclass's own execute_complete() is not to know them.
        for name, value in (kept.pop(_ARGUMENTS, None) or {}).items():
            if name in self.template_fields:
                setattr(self, name, value)
        try:
            return super().resume_execution(next_method, kept, context)
        except AirflowException as error:
            # Airflow 3 says this itself; 2.11 only has a text for it, and would try again.
            if type(error).__name__ == "TaskDeferralError" and "timeout" in str(error).lower():
                raise self.timed_out() from error
            raise
