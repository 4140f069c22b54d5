"""Generate images in a Dag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_oxen.api.client import Client
    from airflow_provider_oxen.api.models import GenerateAnswer, GenerateRequest
    from airflow_provider_oxen.operators.output import Output

__all__ = ["ImageGenerateOperator"]


class ImageGenerateOperator(BaseOperator):
    """Generate an image on the Oxen.ai hub, prove that it is whole, and keep it.

    Before anything is spent, the arguments are checked, the place of the output is looked at and
    the hub is asked for the model. What a retry cannot mend fails the task without retry, and so
    does a lost answer: there an image may have been paid for.

    Returns plain JSON, facts that are not known left out::

        {"model": "…", "created": 1780000000, "seed": 42, "reused": False,
         "images": [{"path": "s3://…", "media_type": "image/png", "width": 1024, "height": 1024,
                     "bytes": 734003, "sha256": "…"}]}

    An image has ``path`` with ``storage_path``; without it ``url`` (a temporary link, not fetched)
    or ``b64_json``, as ``response_format`` says. All arguments are templated.

    :param prompt: what to draw.
    :param model: id of a model of the hub's catalogue.
    :param response_format: how the hub answers: ``url`` or ``b64_json``.
    :param image_size: a preset such as ``square_hd``, or ``{"width": 1024, "height": 1024}`` in pixels.
    :param num_inference_steps: more steps, more detail, more time; where the model takes it.
    :param seed: the same seed gives the same image. None: settled by the package where the model takes one.
    :param target_namespace: user or organisation that owns the result and is billed. None: the connection's.
    :param model_params: any other parameter in the model's request schema.
    :param storage_path: an absolute path or URL that ``ObjectStoragePath`` opens: a folder when it ends
        in ``/``, else the file, whose suffix follows the bytes. None: nothing is stored, all goes into XCom.
    :param storage_conn_id: Airflow connection of the store.
    :param overwrite: generate anew where a finished output is. Otherwise an output of the same request is
        returned without spending (``"reused": True``), and one of another request is an error.
    :param validate: ``error`` refuses what the model's catalogue entry contradicts, ``warn`` logs it,
        ``off`` does not ask for the entry.
    :param max_bytes: largest image that is fetched, in bytes.
    :param oxen_conn_id: Airflow connection of the hub.
    """

    template_fields: Sequence[str] = (
        "prompt",
        "model",
        "response_format",
        "image_size",
        "num_inference_steps",
        "seed",
        "target_namespace",
        "model_params",
        "storage_path",
        "storage_conn_id",
        "overwrite",
        "validate",
        "max_bytes",
        "oxen_conn_id",
    )
    template_fields_renderers = {"model_params": "json"}  # noqa: RUF012
    ui_color = "#e8f0e4"

    def __init__(
        self,
        *,
        prompt: str,
        model: str,
        response_format: Literal["url", "b64_json"] | str = "url",
        image_size: str | Mapping[str, int] | None = None,
        num_inference_steps: int | str | None = None,
        seed: int | str | None = None,
        target_namespace: str | None = None,
        model_params: Mapping[str, Any] | str | None = None,
        storage_path: str | None = None,
        storage_conn_id: str | None = None,
        overwrite: bool | str = False,
        validate: Literal["error", "warn", "off"] | str = "error",
        max_bytes: int | str = 256 * 1024 * 1024,
        oxen_conn_id: str = "oxen_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.model = model
        self.response_format = response_format
        self.image_size = image_size
        self.num_inference_steps = num_inference_steps
        self.seed = seed
        self.target_namespace = target_namespace
        self.model_params = model_params
        self.storage_path = storage_path
        self.storage_conn_id = storage_conn_id
        self.overwrite = overwrite
        self.validate = validate
        self.max_bytes = max_bytes
        self.oxen_conn_id = oxen_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Generate and keep; see the class."""
        from airflow_provider_oxen.hooks.failures import for_airflow

        with for_airflow():
            return self._generate(context)

    def _generate(self, context: Context) -> dict[str, Any]:
        from airflow_provider_oxen.api.errors import OxenImageError, OxenOutcomeUnknown
        from airflow_provider_oxen.hooks.failures import never_again
        from airflow_provider_oxen.hooks.oxen import OxenHook
        from airflow_provider_oxen.images import fetch
        from airflow_provider_oxen.jobs import arguments
        from airflow_provider_oxen.jobs import request as requests
        from airflow_provider_oxen.operators import output as outputs

        asked = requests.read_arguments(
            prompt=self.prompt,
            model=self.model,
            response_format=self.response_format,
            image_size=self.image_size,
            num_inference_steps=self.num_inference_steps,
            seed=self.seed,
            target_namespace=self.target_namespace,
            model_params=self.model_params,
        )
        overwrite = arguments.boolean("overwrite", arguments.given(self.overwrite, False))
        validate = arguments.given(self.validate, "error")
        validate = arguments.choice("validate", validate, ("error", "warn", "off"))
        max_bytes = arguments.positive("max_bytes", arguments.given(self.max_bytes, fetch.MAX_BYTES))
        conn_id = arguments.text(
            "oxen_conn_id", arguments.given(self.oxen_conn_id, OxenHook.default_conn_name)
        )
        output = outputs.open_output(
            context,
            arguments.optional_text("storage_path", self.storage_path),
            arguments.optional_text("storage_conn_id", self.storage_conn_id),
            fingerprint=requests.fingerprint(asked),
            overwrite=overwrite,
            max_bytes=max_bytes,
        )
        kept = output.find()
        if kept is not None:
            self.log.info("Reused %s: it holds the answer to this very request. Nothing was spent.", output)
            return kept
        with OxenHook(conn_id).get_conn() as client:
            settled = self._settle(client, asked, output, validate)
            with never_again(OxenOutcomeUnknown, "An image was asked for and may have been paid for."):
                answer = self._ask(client, settled)
                with never_again(OxenImageError, "The image was paid for and could not be kept."):
                    result = output.keep(client, settled, answer)
                    self.log.info("Kept in %s: %s", output, outputs.describe(result))
                    return result

    def _settle(
        self, client: Client, asked: GenerateRequest, output: Output, validate: str
    ) -> GenerateRequest:
        """Return the exact body to send, checked against the model's catalogue entry."""
        from airflow_provider_oxen.hooks.model_check import ask_for_model, report
        from airflow_provider_oxen.jobs import request as requests

        if asked.target_namespace is None and client.settings.target_namespace:
            asked = asked.model_copy(update={"target_namespace": client.settings.target_namespace})
        model = None if validate == "off" else ask_for_model(client, asked.model, validate)
        schema = model.request_schema if model else None
        settled = requests.settle(asked, schema, output.identity.key, fresh=output.overwrite)
        if model:
            report(model, settled.request.parameters(), validate)
        if settled.seed_is_ours:
            self.log.info(
                "No seed was given: %s was chosen, to make the image reproducible.", settled.request.seed
            )
        return settled.request

    def _ask(self, client: Client, request: GenerateRequest) -> GenerateAnswer:
        from airflow_provider_oxen.api import calls

        self.log.info(
            "Asking %s for an image of %s (seed %s). This costs money once it is accepted.",
            client.settings.base_url,
            request.model,
            request.seed,
        )
        self.log.debug("Prompt: %s", request.prompt)
        return client.send(calls.generate(request))
