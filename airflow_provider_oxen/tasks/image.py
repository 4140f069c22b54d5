"""One try of an image task: read its arguments, find its record, run the protocol."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_oxen import metrics
from airflow_provider_oxen.api.blocking import unsuspended
from airflow_provider_oxen.api.errors import (
    OxenError,
    OxenGenerationCancelled,
    OxenGenerationFailed,
    OxenInvalidRequest,
    OxenPollError,
    OxenRecordError,
    OxenStoreUnavailable,
)
from airflow_provider_oxen.api.keyless import refuse_key
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.jobs import record as records
from airflow_provider_oxen.jobs import request as requests
from airflow_provider_oxen.jobs.effects import Prepared, Remade
from airflow_provider_oxen.jobs.intent import intend
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.resolve import refused_oddity
from airflow_provider_oxen.jobs.task import Task, changed
from airflow_provider_oxen.tasks.arguments import ImageArguments
from airflow_provider_oxen.tasks.assets import add_asset_events
from airflow_provider_oxen.tasks.attempt import ImageAttempt, is_open
from airflow_provider_oxen.tasks.deferral import TaskOperator, defer
from airflow_provider_oxen.tasks.effects import WorkerEffects
from airflow_provider_oxen.tasks.facts import TaskFacts
from airflow_provider_oxen.tasks.generations import Costs
from airflow_provider_oxen.tasks.lineage import lineage, of_images
from airflow_provider_oxen.tasks.path_warnings import path_warnings
from airflow_provider_oxen.tasks.places import open_output, record_store
from airflow_provider_oxen.tasks.prepare import RequestBuilder
from airflow_provider_oxen.tasks.running import Running, warn_of_local_disk
from airflow_provider_oxen.tasks.runtime import BlockingRuntime
from airflow_provider_oxen.tasks.xcoms import TaskXComs, of_result

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["ImageTask", "open_task"]


@dataclass
class ImageTask(ImageAttempt):
    """One try of one task.

    :param asked: the request as the user made it, from the arguments that were read.
    """

    context: Context
    do: WorkerEffects
    operator: TaskOperator
    asked: GenerateRequest
    xcoms: TaskXComs
    facts: TaskFacts

    def run(self, secret: Collection[str] = ()) -> dict[str, Any]:
        """Find a kept image or a job under way, or generate one; return the operator's result.

        :param secret: names of arguments that contain the key. Such a request is not sent, but what an
            earlier version has paid for is still fetched.
        :raises OxenError: see the protocol.
        """
        if secret and not is_open(self.store.read()):
            refuse_key(secret)
        self.xcoms.push_request(self.task.origin, self.asked.model, self.asked.prompt)
        warn_of_local_disk(self.operator, self.output.folder)
        metrics.retried(self.output.try_number)
        return self._counted(self._run)

    def resume(self, event: Any, job: Any) -> dict[str, Any]:
        """Resume after the deferral.

        :raises OxenPollError: if the event is not one of the trigger's.
        """
        return self._counted(lambda: self._resume(event, job))

    def _counted(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Report the result of the work, or count a lost image and what the hub has charged for it anyway."""
        try:
            return self._done(work())
        except Exception as error:
            metrics.failed()
            if isinstance(error, OxenError):
                self._count_lost(error)
            raise

    def _count_lost(self, error: OxenError) -> None:
        ended = isinstance(error, OxenGenerationFailed | OxenGenerationCancelled)
        if self.do.stopping or not (ended or error.spent == "yes"):
            return
        record = self.do.recorder.record
        if record is None:
            with suppress(OxenError):
                record = self.store.read()
        if record is None:
            return
        cost = unsuspended(self.do.costs.cost(record))
        charged = None if cost is None else f"${cost:g}"
        facts = {"generation": record.generation_id, "seed": record.body.get("seed"), "cost": charged}
        told = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
        if told and (cost is not None or error.spent == "yes"):
            error.advise(f"Paid for: {told}.")
        if cost is None or cost <= record.counted:
            return
        metrics.paid(record.body.get("model"), record.endpoint, cost - record.counted)
        # The next try may fetch the image; then it must not count the cost again.
        with suppress(OxenError):
            self.store.write(record.to(record.phase, counted=cost))

    def _done(self, result: dict[str, Any]) -> dict[str, Any]:
        """Report the result to metrics, assets, lineage and the web interface."""
        record = self.do.recorder.record
        asked_at, counted = (record.time, record.counted) if record else (None, 0.0)
        metrics.image(result, self.task.endpoint, asked_at, counted)
        files = of_images(result)
        add_asset_events(self.operator, self.context, files)
        self.xcoms.push_page(files[0].path if files else None)
        self.operator.lineage = lambda: lineage(
            self.task.origin, [result.get("model", self.asked.model)], files
        )
        images = of_result(result, self.asked.prompt, self.output.previews, self.asked.body())
        self.xcoms.push_images(images, len(images))
        self.facts.push_result(result)
        return result

    def _run(self) -> dict[str, Any]:
        if self.output.folder is None and not self.operator.do_xcom_push:
            raise OxenInvalidRequest(
                "There is no place for the image: do_xcom_push=False keeps the result out of XCom, and there "
                "is no storage_path.",
                remedy="Set storage_path, or do_xcom_push=True.",
            )
        return self.do.drive(self._generated())

    async def _generated(self) -> dict[str, Any]:
        begun = await self.begin()
        return await self.finish(begun) if isinstance(begun, Record) else begun

    def _resume(self, event: Any, job: Any) -> dict[str, Any]:
        from airflow_provider_oxen.triggers.events import read_event

        identity = self.task.identity
        # Airflow's dag.test() passes only the event.
        deferred = None if job is None else records.read(job, "what the deferred task remembers", identity)
        try:
            record = self.store.read() or deferred
        except OxenStoreUnavailable as error:
            raise OxenPollError(
                error.message,
                money="The generation that this task waited for may have been paid for.",
                retry="Its id is on record: the next try continues with it.",
            ) from None
        if record is None:
            record = self._told_by(event)
        deferred = deferred or record
        told = read_event(event, str(deferred.generation_id))
        if record.nonce != deferred.nonce:
            raise OxenRecordError(
                f"While this task waited for {deferred.job}, its record became that of {record.job}.",
                remedy="Clear the task to continue with that one.",
            )
        if odd := refused_oddity(self.task, record):
            raise odd
        if record.phase in ("ended", "cancelling"):
            return self._run()
        if differs := changed(self.task, record):
            self.operator.log.warning(
                "The %s changed while this task waited; it continues with what it was started with: %s.",
                " and ".join(differs),
                record.job,
            )
        end = None if told.status == "unreachable" else told
        if end is None:
            # This worker may be able to look: it reads the connection again.
            self.operator.log.warning("The triggerer could not read the generation: %s", told.message)
        self.find(record)
        going_on = deferred if record.phase in ("not_sent", "intent", "kept") else record
        return self.do.drive(self.finish(going_on, end))

    def _told_by(self, event: Any) -> Record:
        """Return the record of the job in an event, if nothing else remembers it."""
        generation_id = event.get("generation_id") if isinstance(event, Mapping) else None
        if not generation_id:
            raise OxenPollError(
                "This task was resumed, but nothing says what it waited for.",
                retry="The next try looks it up.",
            )
        intent = self.do.drive(intend(self.do, self.task, 1))
        return intent.to("submitted", generation_id=str(generation_id), submitted_at=intent.time)


@contextmanager
def open_task(operator: TaskOperator, context: Context, *, resumed: bool = False) -> Iterator[ImageTask]:
    """Read an operator's arguments after rendering, and open what its try needs.

    :param resumed: whether the task has been deferred before.
    :raises OxenInvalidRequest: naming the argument, its value and what is allowed.
    """
    ti = context["ti"]
    facts = TaskFacts(ti, operator.log)
    with facts.noting_failure(waited=resumed):
        arguments = ImageArguments.of(operator)
        asked = arguments.request()
        output = open_output(
            context,
            arguments.storage_path,
            arguments.storage_conn_id,
            fingerprint=requests.fingerprint(asked),
            overwrite=arguments.overwrite,
            max_bytes=arguments.max_bytes,
            storage_options=arguments.storage_options,
        )
        pushed = operator.pushed_links or {}
        xcoms = TaskXComs(ti, operator.log, arguments.previews, pushed, output.folder)
        output.preview_size = xcoms.size
        store = record_store(context, output)
        if arguments.overwrite and not store.keeps:
            raise OxenInvalidRequest(
                "overwrite=True needs a place to remember what was paid for, or every retry would pay again.",
                remedy="Set storage_path, or use Airflow 3.3 or newer.",
            )
        began = getattr(context.get("dag_run"), "start_date", None)
        with OxenHook(arguments.oxen_conn_id).get_conn() as client:
            task = Task(
                identity=output.identity.key,
                fingerprint=output.fingerprint,
                origin=client.settings.base_url,
                namespace=asked.target_namespace or client.settings.target_namespace,
                endpoint=arguments.endpoint,
                nonce=secrets.token_hex(16),
                try_number=output.try_number,
                clear_count=ti.max_tries or 0,
                clear_number=output.clear_number,
                has_store=store.keeps,
                unsure=output.try_number > 1,
                began=began.timestamp() if began else None,
                overwrite=arguments.overwrite,
                cancel_on_timeout=arguments.cancel_on_timeout,
                on_unknown_outcome=arguments.on_unknown_outcome,
                on_changed_request=arguments.on_changed_request,
                lookup_grace=arguments.lookup_grace,
                max_cost=arguments.max_cost,
                max_retries=client.settings.max_retries,
                asked=asked.body(),
            )
            builder = RequestBuilder(
                client, arguments.validation, arguments.max_cost is not None, arguments.target_repo
            )

            async def prepare(counter: int) -> Prepared:
                prepared = builder.prepare(task, asked, operator.log, counter)
                output.prove()
                model = builder.model(asked.model)
                for warning in path_warnings(
                    arguments.storage_path,
                    prepared.body,
                    model.request_schema if model else None,
                    run_id=ti.run_id,
                    overwrite=arguments.overwrite,
                ):
                    operator.log.warning("%s", warning)
                return prepared

            async def remake(counter: int) -> Remade:
                return builder.remake(task, asked, counter)

            runtime = BlockingRuntime(client)
            do = WorkerEffects(
                runtime=runtime,
                log=operator.log,
                store=store,
                output=output,
                costs=Costs(runtime, operator.log),
                builds=prepare,
                rebuilds=remake,
                arguments=arguments,
                cancel_on_kill=arguments.cancel_on_kill,
                running=Running(ti),
                defers=partial(defer, operator, ti, arguments, resumed) if arguments.deferrable else None,
                xcoms=xcoms,
            )
            yield ImageTask(
                task, output, store, do, runtime, operator.log, context, operator, asked, xcoms, facts
            )
