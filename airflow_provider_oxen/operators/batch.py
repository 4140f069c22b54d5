"""Generate thousands of images in one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_oxen import configuration
from airflow_provider_oxen.links import OxenImageLink, OxenModelLink
from airflow_provider_oxen.operators.base import GeneratingOperator, resume_batch, run_batch, templated

if TYPE_CHECKING:
    import os
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

__all__ = ["ImageBatchGenerateOperator"]

_FOLDER: Any = configuration.storage_path() or Parameter.empty
"""Where there is none, Airflow misses the argument as soon as it parses the Dag file."""


class ImageBatchGenerateOperator(GeneratingOperator):
    """Generate an image for each of many prompts, keep all images in one folder, and pay for each once.

    The operator reads and checks the whole input before it spends anything, and reports all problems at once,
    with their line numbers. It then generates only the images that the folder does not hold yet: a retry,
    another run, or a longer or reordered file generates what is missing. A row is identified by the folder
    together with its id; a row without an id, by its request and by how often that request came before in the
    input.

    Beside the images and their sidecars, the folder holds ``manifest.jsonl`` (one line for each prompt, in
    the order of the input), ``summary.json`` and ``index.html``, a contact sheet. The task returns plain JSON
    of one shape, however many prompts there are::

        {"manifest": "s3://…/manifest.jsonl", "summary": "…", "index": "…", "prompts": 10000,
         "generated": 9990, "reused": 0, "failed": 9, "unknown": 1, "not_sent": 0, "cost": 99.9, …,
         "failures": [{"line": 17, "id": "…", "status": "failed", "error": "…"}]}

    ``failures`` holds the first 20. All arguments except ``deferrable`` are templated. See
    ``docs/batches.md``.

    :param prompts: a list of texts or of mappings, such as another task's output, or the absolute path or URL
        of a file. A mapping has a ``prompt``, optionally an ``id``, and any field of the request for this
        row. A file is ``.txt`` (one prompt per line), ``.jsonl``, ``.csv`` (a column ``prompt``; other
        columns are fields of the request) or ``.parquet`` (with the extra ``parquet``).
    :param storage_path: folder of the images: an absolute path or URL that ``ObjectStoragePath`` opens, as a
        text or a path object. Default: ``[oxen] storage_path``, if that is set.
    :param model: id of a model in the hub's catalogue. This and the next six arguments are defaults: a row
        may set its own value.
    :param response_format: how the synchronous endpoint answers: ``url`` or ``b64_json``.
    :param image_size: a preset such as ``square_hd``, or pixels: ``"1024x1024"`` or
        ``{"width": 1024, "height": 1024}``, sent in the form that the model takes.
    :param num_inference_steps: more steps give more detail and take more time, if the model takes this
        parameter.
    :param seed: for every row that sets none. None: each row gets a seed of its own, if the model takes one.
    :param target_namespace: user or organisation that owns the results and is billed. None: the connection's.
    :param model_params: any other parameter in the model's request schema.
    :param storage_conn_id: Airflow connection of the store, if ``storage_path`` does not name one.
    :param storage_options: options for each write to an object store, as a mapping such as
        ``{"ServerSideEncryption": "aws:kms"}`` or as JSON text; no credentials.
    :param prompts_conn_id: Airflow connection of the store that holds the prompts. None: ``storage_conn_id``.
    :param max_in_flight: how many prompts the hub works on at once: open requests and, while the task waits
        in the worker, jobs in the hub's queue. Prompts whose images are being fetched and kept do not count.
    :param requests_per_minute: the most paid requests sent in a minute. None: as fast as the hub accepts
        them.
    :param max_cost: the most USD that the batch may cost. The batch is priced from the catalogue first and
        refused if that price is higher; it also stops once the charges exceed this amount. None: no limit.
        Default: ``[oxen] max_cost``, else None.
    :param allow_unknown_price: with ``max_cost``: count a request without a catalogue price as free.
    :param on_error: what happens when a prompt gives no image: ``fail`` sends nothing more, lets the requests
        under way finish, and fails the task; ``continue`` goes on.
    :param max_failures: with ``continue``: how many prompts may give no image before the task stops and
        fails, as a count or as a share (``0.05``, ``"5%"``). None: any number, as long as one prompt gives an
        image.
    :param overwrite: generate again what the folder already holds, once each time the task is cleared.
    :param validate: ``error`` refuses what contradicts the models' catalogue entries, ``warn`` logs it,
        ``off`` does not fetch the entries.
    :param max_bytes: largest image to fetch, in bytes.
    :param use_queue: submit to the hub's queue, where a lost answer can be looked up. The synchronous
        endpoint saves a request or two for each image, but the images that were being generated when a worker
        died cannot be found again.
    :param deferrable: submit everything, then wait in the triggerer. Default: ``[oxen] deferrable``, else
        ``[operators] default_deferrable``.
    :param poll_interval: seconds between two looks at the hub's queue; one request covers all jobs.
    :param timeout: seconds, or a ``timedelta``, from submission until the task stops waiting for a generation
        in the queue. The generation goes on, and the next try checks whether it has ended.
    :param on_unknown_outcome: what to do about a row that may have been paid for and cannot be found:
        ``fail``, ``adopt`` the one generation that matches, or ``resubmit`` and perhaps pay twice.
    :param on_changed_request: what to do about a row whose id has an unfinished job for another request:
        ``fail`` the batch before it spends anything, or ``submit`` the new request and abandon that job.
    :param lookup_grace: seconds after which the hub's lists must show what its queue has accepted.
    :param previews: push small previews of up to 24 images to the XCom ``oxen_images``, for the Images view
        of Airflow's web interface (3.1 and newer). Default: ``[oxen] previews``, else True.
    :param oxen_conn_id: Airflow connection of the hub.
    """

    template_fields_renderers: ClassVar[dict[str, str]] = {
        **GeneratingOperator.template_fields_renderers,
        "prompts": "json",
    }
    operator_extra_links = (OxenImageLink(), OxenModelLink())
    at_stake = "The generations of the batch continue and"

    def __init__(
        self,
        *,
        prompts: Sequence[str | Mapping[str, Any]] | str | Any,
        storage_path: str | os.PathLike[str] | ObjectStoragePath | Any = _FOLDER,
        model: str | None = None,
        response_format: Literal["url", "b64_json"] | str = "url",
        image_size: str | Mapping[str, int] | None = None,
        num_inference_steps: int | str | None = None,
        seed: int | str | None = None,
        target_namespace: str | None = None,
        model_params: Mapping[str, Any] | str | None = None,
        storage_conn_id: str | None = None,
        storage_options: Mapping[str, Any] | str | None = None,
        prompts_conn_id: str | None = None,
        max_in_flight: int | str = 8,
        requests_per_minute: float | str | None = None,
        max_cost: float | str | None = configuration.max_cost(),
        allow_unknown_price: bool | str = False,
        on_error: Literal["fail", "continue"] | str = "fail",
        max_failures: float | str | None = None,
        overwrite: bool | str = False,
        validate: Literal["error", "warn", "off"] | str = "error",
        max_bytes: int | str = 256 * 1024 * 1024,
        use_queue: bool | str = True,
        deferrable: bool = configuration.deferrable(),
        poll_interval: float | str = 3.0,
        timeout: float | timedelta | str | None = 3600.0,
        on_unknown_outcome: Literal["fail", "adopt", "resubmit"] | str = "fail",
        on_changed_request: Literal["fail", "submit"] | str = "fail",
        lookup_grace: float | str = 60.0,
        previews: bool | str = configuration.previews(),
        oxen_conn_id: str = "oxen_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompts = prompts
        self.storage_path = storage_path
        self.model = model
        self.response_format = response_format
        self.image_size = image_size
        self.num_inference_steps = num_inference_steps
        self.seed = seed
        self.target_namespace = target_namespace
        self.model_params = model_params
        self.storage_conn_id = storage_conn_id
        self.storage_options = storage_options
        self.prompts_conn_id = prompts_conn_id
        self.max_in_flight = max_in_flight
        self.requests_per_minute = requests_per_minute
        self.max_cost = max_cost
        self.allow_unknown_price = allow_unknown_price
        self.on_error = on_error
        self.max_failures = max_failures
        self.overwrite = overwrite
        self.validate = validate
        self.max_bytes = max_bytes
        self.use_queue = use_queue
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.on_unknown_outcome = on_unknown_outcome
        self.on_changed_request = on_changed_request
        self.lookup_grace = lookup_grace
        self.previews = previews
        self.oxen_conn_id = oxen_conn_id

    template_fields: Sequence[str] = templated(__init__)

    def execute(self, context: Context) -> dict[str, Any]:
        """Generate the missing images; see the class."""
        from airflow_provider_oxen.api.keyless import refuse_key
        from airflow_provider_oxen.hooks.failures import for_airflow
        from airflow_provider_oxen.tasks.beginning import begin

        if context.get("task_state_store") is not None:
            begin(self, context)
        self.pushed_links = {link.key: "" for link in self.operator_extra_links}
        secret = self.arguments_with_key()
        with for_airflow():
            refuse_key(secret)
            return run_batch(self, context)

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any] | None = None,
        batch: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Resume when the trigger has seen all generations end.

        :param event: the trigger's event.
        :param batch: the batch's folder at the time of the deferral, the USD spent by then, and the arguments
            as they were read then. These arguments count, even if this operator instance was made with
            others.
        """
        from airflow_provider_oxen.hooks.failures import for_airflow
        from airflow_provider_oxen.tasks.deferral import restore

        batch = restore(self, batch, ImageBatchGenerateOperator.template_fields)
        # The task pushed the other links before it was deferred.
        self.pushed_links = {OxenImageLink.key: ""}
        with for_airflow():
            return resume_batch(self, context, event, batch)
