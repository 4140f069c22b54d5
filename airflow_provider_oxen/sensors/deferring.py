"""What the two sensors share: poking in the worker, and deferring to a trigger."""

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
"""Key of the arguments in the ``kwargs`` of the deferral."""


class DeferringSensor(BaseSensorOperator):
    """A sensor that looks once in the worker, and then may defer to a trigger.

    ``poke`` itself defers. So Airflow's own loop around it applies ``soft_fail``, ``silent_fail`` and
    ``never_fail`` to the first look, in every mode.

    :param deferrable: wait in the triggerer, without a worker. None: as ``[oxen] deferrable`` says,
        else ``[operators] default_deferrable``.
    """

    task_instance: Any = None
    """That is being executed, once it has looked."""

    def __init__(self, *, deferrable: bool | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if deferrable is None:
            deferrable = configuration.deferrable()
        self.deferrable = deferrable

    def defer_to(self, trigger: BaseTrigger, deadline: float, arguments: Mapping[str, Any]) -> NoReturn:
        """Defer, and come back in ``execute_complete`` with the trigger's event.

        :param deadline: unix seconds when the sensor's ``timeout`` ends; the next deferral uses the same
            deadline.
        :param arguments: as they were read. Airflow makes the sensor anew when it resumes, perhaps with
            others.
        """
        from airflow_provider_oxen.hooks.triggerer import warn_of_no_triggerer
        from airflow_provider_oxen.triggers._base import SECONDS

        warn_of_no_triggerer(self.task_instance, self.log)
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            kwargs={"deadline": deadline, _ARGUMENTS: dict(arguments)},
            # The trigger may hold back, for a few seconds, an event that came just before the deadline.
            timeout=timedelta(seconds=max(0.0, deadline - time.time()) + SECONDS),
        )

    @contextmanager
    def without_useless_retry(self) -> Iterator[None]:
        """Turn an error that a retry cannot fix into a failure without a retry."""
        from airflow_provider_oxen.api.errors import OxenError
        from airflow_provider_oxen.hooks.failures import for_airflow

        with for_airflow():
            try:
                yield
            except OxenError as error:
                if self.soft_fail and not error.retry_helps:
                    # Airflow turns the failure into a skip and does not log the reason.
                    self.log.error("%s", error)
                raise

    def timed_out(self) -> AirflowSensorTimeout:
        """Return the error that Airflow's own sensors raise at the end of ``timeout``."""
        message = f"Sensor has timed out: it waited longer than {self.timeout:g} seconds."
        if self.soft_fail:
            self.log.error("%s", message)
        return AirflowSensorTimeout(message)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the trigger, with the arguments that the sensor was deferred with."""
        kept = dict(next_kwargs or {})
        # Earlier versions kept no arguments. A subclass's own execute_complete() does not expect them.
        for name, value in (kept.pop(_ARGUMENTS, None) or {}).items():
            if name in self.template_fields:
                setattr(self, name, value)
        try:
            return super().resume_execution(next_method, kept, context)
        except AirflowException as error:
            # Airflow 3 raises the right error itself; 2.11 only says it in the message, and would retry.
            if type(error).__name__ == "TaskDeferralError" and "timeout" in str(error).lower():
                raise self.timed_out() from None
            raise
