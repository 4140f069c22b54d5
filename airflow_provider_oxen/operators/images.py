"""Generate an image in one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_oxen import configuration
from airflow_provider_oxen.links import OxenGenerationLink, OxenImageLink, OxenModelLink
from airflow_provider_oxen.operators.base import GeneratingOperator, templated

if TYPE_CHECKING:
    import os
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

__all__ = ["ImageGenerateOperator"]

_FOLDER = configuration.storage_path()


class ImageGenerateOperator(GeneratingOperator):
    """Generate an image on the Oxen.ai hub, prove that it is whole, keep it, and pay for it once.

    Before it spends anything, the task looks for what an earlier try has already paid for: a kept output, or
    a job under way that its record or the hub's lists show. Only if it finds nothing does it ask the hub for
    the model, and then for the image. An error that a retry cannot fix fails the task without a retry. See
    ``docs/paying-once.md`` for what is guaranteed where.

    The task returns plain JSON, without the facts that are not known::

        {"model": "…", "created": 1780000000, "seed": 42, "generation_id": "…", "cost": 0.014,
         "reused": False,
         "images": [{"path": "s3://…", "media_type": "image/png", "width": 1024, "height": 1024,
                     "bytes": 734003, "sha256": "…"}]}

    With ``storage_path``, an image has a ``path``. Without it, an image has a ``url`` (a temporary link, not
    fetched) or ``b64_json``, as ``response_format`` says. A generation in the queue is pushed to the XComs
    ``generation_id`` and ``generation_link`` as soon as the hub accepts it. All arguments except
    ``deferrable`` are templated.

    :param prompt: what to draw.
    :param model: id of a model in the hub's catalogue.
    :param response_format: how the hub answers: ``url`` or ``b64_json``. The queue answers only with links;
        there the task fetches the image and encodes it.
    :param image_size: a preset such as ``square_hd``, or pixels: ``"1024x1024"`` or
        ``{"width": 1024, "height": 1024}``, sent in the form that the model takes.
    :param num_inference_steps: more steps give more detail and take more time, if the model takes this
        parameter.
    :param seed: the same seed gives the same image. None: the task derives one, if the model takes a seed;
        that makes its job recognisable and the image reproducible.
    :param target_namespace: user or organisation that owns the result and is billed. None: the connection's.
    :param model_params: any other parameter in the model's request schema.
    :param storage_path: an absolute path or URL that ``ObjectStoragePath`` opens, as a text or a path object.
        If it ends in ``/`` it is a folder, otherwise the file itself; the suffix follows the format of the
        bytes. None: nothing is stored and everything goes into XCom; with ``do_xcom_push=False`` the task is
        refused before it spends anything. Default: ``[oxen] storage_path``, else None.
    :param storage_conn_id: Airflow connection of the store, if ``storage_path`` does not name one.
    :param storage_options: options for each write to an object store, as a mapping such as
        ``{"ServerSideEncryption": "aws:kms"}`` or as JSON text; no credentials.
    :param overwrite: generate again although a finished output exists, once each time the task is cleared.
        Otherwise the task returns an output of the same request without spending (``"reused": True``), and an
        output of another request is an error. An unfinished job is continued in either case.
    :param validate: ``error`` refuses what contradicts the model's catalogue entry, ``warn`` logs it, ``off``
        does not fetch the entry.
    :param max_bytes: largest image to fetch, in bytes.
    :param max_cost: the most USD (5, or ``"$5"``) that all submissions of the task may cost at the
        catalogue's prices. A request that would exceed it, or whose price is not known, is refused before it
        is sent. None: no limit. Default: ``[oxen] max_cost``, else None.
    :param use_queue: submit to the hub's queue, where a lost answer can be looked up, and poll. None: only if
        ``deferrable``.
    :param deferrable: wait in the triggerer. Default: ``[oxen] deferrable``, else
        ``[operators] default_deferrable``.
    :param poll_interval: seconds between two looks at a generation; the hub advises 2 to 5. In the worker the
        interval grows slowly to its double. In the triggerer all waiting tasks share one look, at the
        shortest of their intervals.
    :param timeout: seconds, or a ``timedelta``, from submission (or from a later clearing of the task) until
        the task stops waiting for a generation in the queue. The generation goes on, and the next try checks
        whether it has ended.
    :param cancel_on_timeout: cancel the generation after ``timeout``; the next try submits another.
    :param cancel_on_kill: cancel the generation when the task is killed. Airflow also kills on pod eviction,
        lost heartbeats and ``execution_timeout``; by default the next try continues with the generation.
    :param on_unknown_outcome: what to do if an image may have been paid for and cannot be found: ``fail``,
        ``adopt`` the one generation that matches, or ``resubmit`` and perhaps pay twice.
    :param on_changed_request: what to do if the task has an unfinished job for another request: ``fail``, or
        ``submit`` the new request and abandon that job.
    :param lookup_grace: seconds after which the hub's lists must show what its queue has accepted.
    :param target_repo: repository on the hub that also receives the result (queue only). The directory there
        names the task, so its job can always be recognised.
    :param previews: push small previews of up to 24 images to the XCom ``oxen_images``, for the Images view
        of Airflow's web interface (3.1 and newer). Default: ``[oxen] previews``, else True.
    :param oxen_conn_id: Airflow connection of the hub.
    """

    operator_extra_links = (OxenImageLink(), OxenGenerationLink(), OxenModelLink())
    at_stake = "The generation (its id is in XCom) continues and"

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
        storage_path: str | os.PathLike[str] | ObjectStoragePath | None = _FOLDER,
        storage_conn_id: str | None = None,
        storage_options: Mapping[str, Any] | str | None = None,
        overwrite: bool | str = False,
        validate: Literal["error", "warn", "off"] | str = "error",
        max_bytes: int | str = 256 * 1024 * 1024,
        max_cost: float | str | None = configuration.max_cost(),
        use_queue: bool | str | None = None,
        deferrable: bool = configuration.deferrable(),
        poll_interval: float | str = 3.0,
        timeout: float | timedelta | str | None = 3600.0,
        cancel_on_timeout: bool | str = False,
        cancel_on_kill: bool | str = False,
        on_unknown_outcome: Literal["fail", "adopt", "resubmit"] | str = "fail",
        on_changed_request: Literal["fail", "submit"] | str = "fail",
        lookup_grace: float | str = 60.0,
        target_repo: str | None = None,
        previews: bool | str = configuration.previews(),
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
        self.storage_options = storage_options
        self.overwrite = overwrite
        self.validate = validate
        self.max_bytes = max_bytes
        self.max_cost = max_cost
        self.use_queue = use_queue
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.cancel_on_timeout = cancel_on_timeout
        self.cancel_on_kill = cancel_on_kill
        self.on_unknown_outcome = on_unknown_outcome
        self.on_changed_request = on_changed_request
        self.lookup_grace = lookup_grace
        self.target_repo = target_repo
        self.previews = previews
        self.oxen_conn_id = oxen_conn_id

    template_fields: Sequence[str] = templated(__init__)

    def execute(self, context: Context) -> dict[str, Any]:
        """Generate and keep the image, or find the one that was already generated; see the class."""
        from airflow_provider_oxen.hooks.failures import for_airflow
        from airflow_provider_oxen.tasks.image import open_task

        self.pushed_links = {link.key: "" for link in self.operator_extra_links}
        secret = self.arguments_with_key()
        with for_airflow(), self.begun(context, secret), open_task(self, context) as job:
            self.this_try = job.do
            return job.run(secret)

    def execute_complete(
        self, context: Context, event: Mapping[str, Any] | None = None, job: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Resume when the trigger has seen the generation end.

        :param event: the trigger's event.
        :param job: the job's record at the time of the deferral, and the arguments as they were read then.
            These arguments count, even if this operator instance was made with others.
        """
        from airflow_provider_oxen.hooks.failures import for_airflow, waited_for
        from airflow_provider_oxen.tasks.deferral import restore
        from airflow_provider_oxen.tasks.image import open_task

        job = restore(self, job, ImageGenerateOperator.template_fields)
        known = job or event
        generation_id = known.get("generation_id") if isinstance(known, Mapping) else None
        what = f"Generation {generation_id}, which this task has waited for," if generation_id else None
        # The task pushed the other links before it was deferred.
        self.pushed_links = {OxenImageLink.key: ""}
        with for_airflow(), waited_for(what), open_task(self, context, resumed=True) as this_try:
            self.this_try = this_try.do
            return this_try.resume(event, job)
