"""Wait for a model before you spend anything on it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_oxen.sensors.deferring import DeferringSensor

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["OxenModelSensor"]


class OxenModelSensor(DeferringSensor):
    """Wait until a model exists on the hub, makes images and can run. Spends nothing.

    The sensor waits while the model is unknown, a custom model has no active deployment, or the hub does not
    answer. It fails at once for what will not change: a wrong key, a model that makes no images, a parameter
    that contradicts the model's request schema.

    :param model: id of a model in the hub's catalogue. Templated.
    :param parameters: parameters that must fit the model's request schema, under the hub's names. Other
        required parameters may be missing. Templated.
    :param fail_fast: also fail at once if the model is unknown, and suggest similar names from the catalogue.
        Templated.
    :param oxen_conn_id: Airflow connection of the hub. Templated.
    :param deferrable: look once, and then wait in the triggerer, without a worker. None: as
        ``[oxen] deferrable`` says, else ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("model", "parameters", "fail_fast", "oxen_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json"}
    ui_color = "#e8f0e4"

    def __init__(
        self,
        *,
        model: str,
        parameters: Mapping[str, Any] | str | None = None,
        fail_fast: bool | str = False,
        oxen_conn_id: str = "oxen_default",
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(deferrable=deferrable, **kwargs)
        self.model = model
        self.parameters = parameters
        self.fail_fast = fail_fast
        self.oxen_conn_id = oxen_conn_id

    def poke(self, context: Context) -> bool:
        """Return whether the model can be used now. If not yet, and ``deferrable`` is set, defer.

        :raises AirflowFailException: if it can never be used.
        """
        self.task_instance = context.get("ti")
        return self._look(time.time() + self.timeout, defer=self.deferrable)

    def execute_complete(self, context: Context, event: Any = None, deadline: float | None = None) -> None:
        """Resume after the trigger.

        :raises AirflowFailException: if the model can never be used.
        """
        from airflow_provider_oxen.api.errors import OxenPollError
        from airflow_provider_oxen.tasks.arguments import ModelArguments
        from airflow_provider_oxen.triggers.events import read_model_event

        with self.without_useless_retry():
            end = read_model_event(event, ModelArguments.of(self).model)
            if end.status == "timed_out":
                raise self.timed_out()
            if end.status == "unreachable":
                raise OxenPollError(f"The trigger could not check the model: {end.message}", spent="no")
        if end.status == "never":
            # Look again in the worker: the same check raises the same error there.
            self._look(time.time() + self.timeout if deadline is None else deadline, defer=True)
        self.log.info("Model %s is ready.", self.model)

    def _look(self, deadline: float, *, defer: bool) -> bool:
        from airflow_provider_oxen.api.blocking import unsuspended
        from airflow_provider_oxen.api.deadline import for_look
        from airflow_provider_oxen.api.keyless import names_with_key, refuse_key
        from airflow_provider_oxen.catalogue.readiness import look
        from airflow_provider_oxen.hooks.oxen import OxenHook
        from airflow_provider_oxen.tasks.arguments import ModelArguments

        with self.without_useless_retry():
            given = ModelArguments.of(self).as_json()
            with OxenHook(given["oxen_conn_id"]).get_conn() as client, for_look(deadline):
                refuse_key(names_with_key(given, client.settings.api_key))
                asked = given["model"], given["parameters"]
                found = unsuspended(look(client, *asked, fail_fast=given["fail_fast"]))
            for level, message in found.messages:
                self.log.log(level, "%s", message)
            if found.error is not None:
                raise found.error
        if found.state == "not_yet" and defer:
            from airflow_provider_oxen.triggers.models import OxenModelTrigger

            trigger = OxenModelTrigger(
                **given, poke_interval=self.poke_interval, deadline=deadline, deferred_at=time.time()
            )
            self.defer_to(trigger, deadline, given)
        return found.state == "ready"
