"""One try of an image task: its arguments read, its record found, the protocol carried out."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_oxen import metrics
from airflow_provider_oxen.api.errors import (
    OxenInvalidRequest,
    OxenPollError,
    OxenRecordError,
    OxenStoreUnavailable,
)
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.jobs import arguments, homes
from airflow_provider_oxen.jobs import record as records
from airflow_provider_oxen.jobs import request as requests
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.steps import Prepared
from airflow_provider_oxen.jobs.submit import intend
from airflow_provider_oxen.jobs.task import Task, changed
from airflow_provider_oxen.operators import output as outputs
from airflow_provider_oxen.operators.drive import Driver
from airflow_provider_oxen.operators.options import Options, read_options
from airflow_provider_oxen.operators.output import Output
from airflow_provider_oxen.operators.prepare import Preparing
from airflow_provider_oxen.operators.showing import Showing, of_result
from airflow_provider_oxen.operators.telling import lineage, of_images, tell_assets
from airflow_provider_oxen.operators.work import ImageWork

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_oxen.operators.images import ImageGenerateOperator

__all__ = ["ImageJob", "open_job"]

_SLACK = 600.0
"""Seconds that Airflow waits beyond the trigger's own deadline: it strikes only where no triggerer runs."""


@dataclass
class ImageJob(ImageWork):
    """One try of one task.

    :param asked: the request as the user made it, its arguments read.
    :param showing: tells Airflow's web interface of the task.
    """

    context: Context

    operator: ImageGenerateOperator
    asked: GenerateRequest
    options: Options
    preparing: Preparing
    showing: Showing

    def run(self) -> dict[str, Any]:
        """Find what is kept, or on its way, or generate; return the operator's result.

        :raises OxenError: see the protocol.
        """
        self.showing.begins(self.task.origin, self.asked.model, self.asked.prompt)
        metrics.retried(self.output.try_number)
        with metrics.one_image():
            return self._told(self._run())

    def resume(self, event: Any, job: Any) -> dict[str, Any]:
        """Go on after deferral.

        :raises OxenPollError: where the event is none that the trigger sends.
        """
        with metrics.one_image():
            return self._told(self._resume(event, job))

    def _told(self, result: dict[str, Any]) -> dict[str, Any]:
        """Tell of a result all who are to know."""
        record = self.driver.record
        metrics.image(result, self.task.endpoint, record.time if record else None)
        made = of_images(result)
        tell_assets(self.operator, self.context, made)
        self.showing.kept(made[0].path if made else None)
        self.operator.made = lambda: lineage(self.task.origin, [result.get("model", self.asked.model)], made)
        images = of_result(result, self.asked.prompt, self.output.previews)
        self.showing.ends(images, len(images))
        return result

    def _run(self) -> dict[str, Any]:
        begun = self.begin()
        return self.finish(begun) if isinstance(begun, Record) else begun

    def _resume(self, event: Any, job: Any) -> dict[str, Any]:
        from airflow_provider_oxen.triggers.events import read_event

        identity = self.task.identity
        # Airflow's dag.test() keeps the event only.
        deferred = None if job is None else records.read(job, "what the deferred task remembers", identity)
        try:
            record = self.home.read() or deferred
        except OxenStoreUnavailable as error:
            raise OxenPollError(
                f"{error} The generation that this task waited for may have been paid for, and is known; the "
                "next try goes on with it."
            ) from None
        if record is None:
            record = self._told_by(event)
        deferred = deferred or record
        told = read_event(event, str(deferred.generation_id))
        if record.nonce != deferred.nonce:
            raise OxenRecordError(
                f"While this task waited for {deferred.job}, its record became that of {record.job}. Nothing "
                "was sent by this try. Clear the task to go on with the latter."
            )
        if record.phase in ("ended", "cancelling"):
            return self._run()
        if differs := changed(self.task, record):
            self.operator.log.warning(
                "The %s changed while this task waited; it goes on with what was asked for: %s.",
                " and ".join(differs),
                record.job,
            )
        end = None if told.status == "unreachable" else told
        if end is None:
            # This worker may be able to look: it reads the connection anew.
            self.operator.log.warning("The triggerer could not look at the generation: %s", told.message)
        self.find(record)
        return self.finish(deferred if record.phase in ("intent", "kept") else record, end)

    def _told_by(self, event: Any) -> Record:
        """Return the record of the job that an event tells of, where nothing else remembers it."""
        generation_id = event.get("generation_id") if isinstance(event, Mapping) else None
        if not generation_id:
            raise OxenPollError(
                "This task was resumed, and nothing is left that tells what it waited for. A generation may "
                "have been paid for; the next try looks it up."
            )
        intent: Record = self.driver.drive(intend(self.task, 1, []))
        return intent.to("submitted", generation_id=str(generation_id), submitted_at=intent.time)

    def stop(self) -> None:
        """Do what a kill asks for."""
        self.driver.stop()

    def prepare(self) -> Prepared:
        """Return the exact body to send, checked against the model's catalogue entry, and its price."""
        return self.preparing.prepare(self.task, self.asked, self.log)

    def defer(self, record: Record, deadline: float | None) -> None:
        """Leave the worker until the generation has ended."""
        from airflow_provider_oxen.triggers.generations import OxenGenerationTrigger

        options = self.options
        since = record.submitted_at or record.time
        trigger = OxenGenerationTrigger(
            generation_id=str(record.generation_id),
            oxen_conn_id=options.conn_id,
            namespace=record.namespace,
            poll_interval=options.poll_interval,
            deadline=deadline,
            patience=since + self.task.lookup_grace,
            cancel_on_kill=options.cancel_on_kill and not record.found,
        )
        left = None if deadline is None else max(0.0, deadline - time.time()) + _SLACK
        self.operator.log.info("Waiting for generation %s in the triggerer.", record.generation_id)
        self.operator.defer(
            trigger=trigger,
            method_name="execute_complete",
            kwargs={"job": record.as_json()},
            timeout=None if left is None else timedelta(seconds=left),
        )


@contextmanager
def open_job(operator: ImageGenerateOperator, context: Context) -> Iterator[ImageJob]:
    """Read an operator's arguments after rendering, and open what its try needs.

    :raises OxenInvalidRequest: naming the argument, its value and what is allowed.
    """
    asked = requests.read_arguments(
        prompt=operator.prompt,
        model=operator.model,
        response_format=operator.response_format,
        image_size=operator.image_size,
        num_inference_steps=operator.num_inference_steps,
        seed=operator.seed,
        target_namespace=operator.target_namespace,
        model_params=operator.model_params,
    )
    options = read_options(operator)
    output = outputs.open_output(
        context,
        arguments.optional_text("storage_path", operator.storage_path),
        arguments.optional_text("storage_conn_id", operator.storage_conn_id),
        fingerprint=requests.fingerprint(asked),
        overwrite=options.overwrite,
        max_bytes=options.max_bytes,
    )
    showing = Showing(context["ti"], operator.log, options.previews, operator.told_links or {})
    output.preview_size = showing.size
    home = _home(context, output)
    if options.overwrite and not home.keeps:
        raise OxenInvalidRequest(
            "overwrite=True needs a place to remember what was paid for, or every retry would pay again: set "
            "storage_path, or use Airflow 3.3 or newer. Nothing was sent."
        )
    began = getattr(context.get("dag_run"), "start_date", None)
    with OxenHook(options.conn_id).get_conn() as client:
        task = Task(
            identity=output.identity.key,
            fingerprint=output.fingerprint,
            origin=client.settings.base_url,
            namespace=asked.target_namespace or client.settings.target_namespace,
            endpoint="queue" if options.use_queue else "generate",
            nonce=secrets.token_hex(16),
            try_number=output.try_number,
            clearing=context["ti"].max_tries or 0,
            has_home=home.keeps,
            began=began.timestamp() if began else None,
            overwrite=options.overwrite,
            on_unknown_outcome=options.on_unknown_outcome,
            on_changed_request=options.on_changed_request,
            lookup_grace=options.lookup_grace,
            max_cost=options.max_cost,
        )
        driver = Driver(
            client=client,
            home=home,
            output=output,
            log=operator.log,
            poll_interval=options.poll_interval,
            timeout=options.timeout,
            lookup_grace=options.lookup_grace,
            cancel_on_kill=options.cancel_on_kill,
            tell=showing.tell,
        )
        preparing = Preparing(client, options.validate, options.max_cost is not None, options.target_repo)
        job = ImageJob(
            task,
            output,
            home,
            driver,
            operator.log,
            options.cancel_on_timeout,
            context=context,
            operator=operator,
            asked=asked,
            options=options,
            preparing=preparing,
            showing=showing,
        )
        driver.prepare = job.prepare
        driver.defer = job.defer if operator.deferrable else None
        yield job


def _home(context: Context, output: Output) -> homes.Home:
    """Return the place of the task's record: Airflow's store, else a file beside the output, else none."""
    store = cast("homes.StateStore | None", context.get("task_state_store"))
    if store is not None:
        # Only where Airflow has the store does it have the word; the compat provider has it nowhere.
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        return homes.StoreHome(store, output.identity.key, NEVER_EXPIRE)
    if output.folder is not None:
        return homes.FileHome(output.folder, output.stem, output.identity.key, output.mark)
    return homes.NoHome()
