"""Wait for a model before anything is spent on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseSensorOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_oxen.api.client import Client

__all__ = ["OxenModelSensor"]


class OxenModelSensor(BaseSensorOperator):
    """Wait until a model exists on the hub, makes images and can run.

    "Not there yet" waits: the model is unknown, a custom model's deployment is not active, the hub
    does not answer. "Will never be" fails at once: a wrong key, a model that makes no images, a
    parameter that contradicts the model's request schema.

    :param model: id of a model of the hub's catalogue. Templated.
    :param parameters: parameters that must fit the model's request schema, under the hub's names; others
        that it requires may be missing. Templated.
    :param fail_fast: fail at once also when the model is unknown, with near names from the catalogue.
        Templated.
    :param oxen_conn_id: Airflow connection of the hub. Templated.
    """

    template_fields: Sequence[str] = ("model", "parameters", "fail_fast", "oxen_conn_id")
    template_fields_renderers = {"parameters": "json"}  # noqa: RUF012
    ui_color = "#e8f0e4"

    def __init__(
        self,
        *,
        model: str,
        parameters: Mapping[str, Any] | str | None = None,
        fail_fast: bool | str = False,
        oxen_conn_id: str = "oxen_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.parameters = parameters
        self.fail_fast = fail_fast
        self.oxen_conn_id = oxen_conn_id

    def poke(self, context: Context) -> bool:
        """Return whether the model can be used now.

        :raises AirflowFailException: where it never will be.
        """
        from airflow_provider_oxen.api.errors import OxenError, OxenModelNotFound
        from airflow_provider_oxen.hooks.failures import for_airflow
        from airflow_provider_oxen.hooks.model_check import suggestion
        from airflow_provider_oxen.hooks.oxen import OxenHook
        from airflow_provider_oxen.jobs import arguments

        with for_airflow():
            name = arguments.text("model", self.model)
            fail_fast = arguments.boolean("fail_fast", arguments.given(self.fail_fast, False))
            parameters = arguments.mapping("parameters", self.parameters)
            conn_id = arguments.given(self.oxen_conn_id, OxenHook.default_conn_name)
            with OxenHook(arguments.text("oxen_conn_id", conn_id)).get_conn() as client:
                try:
                    return self._look(client, name, parameters)
                except OxenModelNotFound as error:
                    if fail_fast:
                        error.message += suggestion(client, name)
                        raise
                    self.log.info("Model %r is not there yet: the hub does not know it.", name)
                except OxenError as error:
                    if not error.retry_helps:
                        if self.soft_fail:
                            # Airflow makes a skip of the failure, and keeps the reason to itself.
                            self.log.error("%s", error)
                        raise
                    self.log.warning("%s Looking again later.", error)
        return False

    def _look(self, client: Client, name: str, parameters: Mapping[str, Any]) -> bool:
        from airflow_provider_oxen.api import calls
        from airflow_provider_oxen.api.errors import OxenInvalidRequest
        from airflow_provider_oxen.api.schema import coerce
        from airflow_provider_oxen.hooks.check import prove_key
        from airflow_provider_oxen.jobs.check import check

        prove_key(client)
        model = client.send(calls.get_model(name))
        findings = check(model, coerce(model.request_schema, parameters), whole=False)
        for message in findings.warnings:
            self.log.warning("%s", message)
        if findings.never:
            raise OxenInvalidRequest(f"Waiting will not help: {'; '.join(findings.never)}.")
        if findings.not_yet:
            self.log.info("%s", findings.not_yet)
        return findings.not_yet is None
