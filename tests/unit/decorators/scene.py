"""The tries of a decorated function's task: each, and each resumption, by a worker of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_oxen.decorators import images
from airflow_provider_oxen.decorators.images import oxen_image_task

from ..operators.scene import KEY, SIGNED, Failed, Scene


@dataclass
class FunctionScene(Scene):
    """One task instance of a decorated function.

    :ivar calls: how often the function was called.
    :ivar losing: what is lost of the arguments that a deferred task keeps.
    :ivar keeping: what becomes of the others.
    :ivar rewriting: what all of them become.
    :ivar in_one_process: whether the process that deferred goes on, told nothing but the event.
    """

    function: Callable[..., Any] = field(default=lambda: "A red cube")
    calls: int = 0
    losing: tuple[str, ...] = ()
    keeping: dict[str, Any] = field(default_factory=dict)
    rewriting: Callable[[dict[str, Any]], dict[str, Any]] = lambda kwargs: kwargs
    in_one_process: bool = False

    def _fresh(self) -> Any:
        if not self.in_one_process:
            # Another process knows nothing of what this one keeps in memory.
            images._deferred.clear()
        arguments = {name: value for name, value in self.arguments.items() if name != "prompt"}
        decorate = oxen_image_task(task_id="hero", retries=self.retries, **arguments)
        made: Any = decorate(self._called)()
        self.operator = made.operator
        return self.operator

    def _called(self) -> Any:
        self.calls += 1
        return self.function()

    def _resume(self, deferral: TaskDeferred) -> Any:
        kept = json.dumps(deferral.kwargs)
        assert KEY not in kept
        assert SIGNED not in kept
        path, arguments = deferral.trigger.serialize()
        module, _, name = path.rpartition(".")
        trigger = getattr(import_module(module), name)(**json.loads(json.dumps(arguments)))
        self.deferring()
        event = self.meanwhile(asyncio.run(_event(trigger)))
        kwargs = {name: value for name, value in json.loads(kept).items() if name not in self.losing}
        kwargs = self.rewriting(kwargs)
        kwargs = {} if self.in_one_process else {**kwargs, **self.keeping}
        method, kwargs = deferral.method_name, {**kwargs, "event": event}
        if isinstance(event, Failed):
            method, kwargs = "__fail__", {"error": event.reason, "traceback": None}
        return self._fresh().resume_execution(method, kwargs, self.context)


async def _event(trigger: Any) -> Any:
    [event] = [json.loads(json.dumps(event.payload)) async for event in trigger.run()]
    return event
