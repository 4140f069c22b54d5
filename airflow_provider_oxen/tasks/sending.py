"""Send one paid request: after a last check, once, and keep whatever comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from airflow_provider_oxen.api import calls, queue
from airflow_provider_oxen.api.errors import OxenError, OxenOutcomeUnknown
from airflow_provider_oxen.api.models import GenerateRequest, ImageItem
from airflow_provider_oxen.api.redact import redact_unless_echoed
from airflow_provider_oxen.jobs.effects import Accepted
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.sealed import seal
from airflow_provider_oxen.tasks.output import Output
from airflow_provider_oxen.tasks.recording import JobRecorder
from airflow_provider_oxen.tasks.runtime import Runtime

__all__ = ["Sender"]


@dataclass
class Sender:
    """Sends the request of one try.

    :ivar images: the images that the synchronous endpoint returned, by the job's nonce.
    """

    runtime: Runtime
    log: Any
    output: Output
    recorder: JobRecorder
    images: dict[str, list[ImageItem]] = field(default_factory=dict, init=False)

    async def send(self, record: Record) -> Accepted:
        request = GenerateRequest.model_validate(record.body)
        self.log.info(
            "Asking %s for an image of %s (seed %s) by %s. This costs money once it is accepted.",
            record.origin,
            request.model,
            request.seed,
            "the queue" if record.endpoint == "queue" else "the synchronous endpoint",
        )
        self.log.debug("Prompt: %s", request.prompt)
        self.recorder.record = record
        guard, is_quick = partial(self.recorder.check_last, record), self.recorder.running.is_known
        try:
            # Send it only once: each request needs its own intent.
            if record.endpoint == "queue":
                rows = await self.runtime.send_once(queue.enqueue(request), guard=guard, is_quick=is_quick)
                for extra in rows[1:]:
                    self.log.warning(
                        "The hub made another generation, %s, that was not asked for.", extra.generation_id
                    )
                return Accepted(generation_id=rows[0].generation_id)
            answer = await self.runtime.send_once(calls.generate(request), guard=guard, is_quick=is_quick)
        except OxenOutcomeUnknown as error:
            failed = error
            return await self.runtime.blocking(lambda: self._unread(record, failed))
        asked = (request.model_extra or {}).get("num_images", 1)
        if answer.unread or len(answer.images) != asked:
            # All of them are kept.
            self.log.warning(
                "The hub answered %d images and %d items that are not images; %s were asked for.",
                len(answer.images),
                answer.unread,
                asked,
            )
        self.images[record.nonce] = answer.images
        # The base64 text of an image is too large for a record.
        key = self.runtime.settings.api_key
        items = [seal(item.url, key) if item.url else {"b64_json": True} for item in answer.images]
        model = redact_unless_echoed(answer.model, request.model)
        return Accepted(items=items, model=model, created=answer.created)

    def _unread(self, record: Record, error: OxenOutcomeUnknown) -> Accepted:
        """Continue with the generation that an unreadable answer names, after keeping the answer.

        :raises OxenOutcomeUnknown: if it names none, or there was no answer.
        """
        if (unread := error.unread) is None:
            self.log.warning("%s Looking for it on the hub.", error.message)
            raise error
        # The queue's answer holds no image, and the queue's lists show the job.
        if unread.content and record.endpoint == "generate":
            try:
                if where := self.output.keep_answer(
                    self.runtime.settings, record, unread.content, error.message
                ):
                    error.advise(f"The answer is kept as {where}.")
            except OxenError as failure:
                self.log.error("The answer could not be kept: %s", failure.message)
        self.log.warning("%s Looking for it on the hub.", error.message)
        if not unread.ids:
            told = record.to("intent", reason=error.message)
            self.recorder.call_with_retries("written (intent)", lambda: self.recorder.store.write(told))
            raise error
        return Accepted(generation_id=unread.ids[0])
