"""``@task.oxen_image``: a function says what to draw."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, ParamSpec, TypeVar, cast, overload

from airflow.providers.common.compat.sdk import (
    AirflowException,
    DecoratedOperator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)

from airflow_provider_oxen.decorators.arguments import (
    FOR_MANY,
    FOR_NONE,
    FOR_ONE,
    REQUEST,
    check_arguments,
    check_function,
    given,
)
from airflow_provider_oxen.links import OxenImageLink
from airflow_provider_oxen.operators.images import ImageGenerateOperator

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    # The compat provider has no name for it.
    from airflow.sdk.bases.decorator import Task
    from airflow.triggers.base import BaseTrigger

    from airflow_provider_oxen.batch.run import BatchRun
    from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator

__all__ = ["oxen_image_task"]

_P = ParamSpec("_P")
_Returned = TypeVar("_Returned", bound="str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]")

_deferred: dict[tuple[Any, ...], dict[str, Any]] = {}
"""What the task that this process deferred last keeps, by task instance and try. Workers get it back from
Airflow; ``dag.test()`` goes on in the same process, with that very task, and hands on the event only."""


class _OxenImageDecoratedOperator(DecoratedOperator, ImageGenerateOperator):
    """Calls a function for a prompt, or for a list of them, and is the operator of one image, or of a batch.

    What the function returned is kept where the task is deferred: it is not called again to go on.

    :param python_callable: returns a text, or a mapping (a ``prompt``, and any field of the request), or a
        list of these. It is taken as it is, and not rendered.
    :param op_args: of the function; templated.
    :param op_kwargs: of the function; templated.
    :param kwargs: arguments of either operator, but for the prompts.
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        # Not the prompt: Airflow would render what the function returned.
        *(name for name in ImageGenerateOperator.template_fields if name != "prompt"),
        *FOR_MANY,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **ImageGenerateOperator.template_fields_renderers,
    }
    custom_operator_name: str = "@task.oxen_image"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        defaults = kwargs.get("default_args") or {}
        # A Dag's default arguments are for all of its tasks, and each takes what it knows. Airflow 2.11 hands
        # a mapped task all of them as if they were its own.
        own = {
            name: value
            for name, value in kwargs.items()
            if not (name in defaults and value == defaults[name])
        }
        check_arguments(own)
        for_many = {name: kwargs.pop(name, defaults.get(name)) for name in FOR_MANY}
        for name in FOR_NONE:
            kwargs.pop(name, None)
        # Each row may name its own.
        kwargs.setdefault("model", defaults.get("model"))
        super().__init__(
            python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, prompt=None, **kwargs
        )
        for name, value in for_many.items():
            setattr(self, name, value)
        self.prompts: Sequence[Any] = ()
        self.prompts_conn_id: str | None = None
        self._given = given(own, (*FOR_ONE, *FOR_MANY))
        self._asked: dict[str, Any] | None = None
        self._run: BatchRun | None = None
        self._key: tuple[Any, ...] = ()

    def execute(self, context: Context) -> dict[str, Any]:
        """Call the function, and generate what it returned."""
        from airflow_provider_oxen.decorators.returned import is_many, read_one
        from airflow_provider_oxen.hooks.failures import for_airflow

        self._key = _key(context)
        self.told_links = {link.key: "" for link in self.operator_extra_links}
        context_merge(context, self.op_kwargs)
        arguments = determine_kwargs(self.python_callable, self.op_args, context)
        returned = self.python_callable(*self.op_args, **arguments)
        with for_airflow():
            if is_many(returned):
                self._refuse("a list, which is a batch", FOR_ONE, "one image")
                self.prompts = returned
                return self._batch(context, lambda run: run.run())
            asked = read_one(returned, {name: getattr(self, name) for name in REQUEST})
            self._refuse("one prompt", FOR_MANY, "a list of them")
        self._ask_for(asked)
        return cast("dict[str, Any]", super().execute(context))

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any] | None = None,
        job: Mapping[str, Any] | None = None,
        asked: Mapping[str, Any] | None = None,
        batch: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Go on where the trigger has seen the end; the function is not called.

        :param event: from the trigger.
        :param job: of one image: its record as it was when the task was deferred.
        :param asked: of one image: the request that the function's return came to.
        :param batch: of a batch: its folder when the task was deferred, and the USD spent by then.
        """
        from airflow_provider_oxen.api.errors import OxenPollError
        from airflow_provider_oxen.batch.run import WAITED
        from airflow_provider_oxen.decorators.returned import GoneRows
        from airflow_provider_oxen.hooks.failures import for_airflow, waited_for

        self._key = _key(context)
        self.told_links = {OxenImageLink.key: ""}
        if asked is None and batch is None and (kept := _deferred.pop(self._key, None)):
            return self.execute_complete(context, event, **kept)
        if asked is not None:
            self._ask_for(asked)
            return super().execute_complete(context, event, job)
        with for_airflow():
            if batch is None:
                raise OxenPollError(
                    "This task was resumed, and nothing is left that tells what its function returned; it is "
                    "not called to go on. Generations may have been paid for: the next try calls it, and "
                    "finds them."
                )
            self.prompts = GoneRows()
            with waited_for(WAITED):
                return self._batch(context, lambda run: run.resume(event, batch), batch)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Come back from the trigger, or from its failure."""
        from airflow_provider_oxen.api.errors import OxenPollError
        from airflow_provider_oxen.hooks.failures import for_airflow

        try:
            # Not as the operator of one image does: nothing tells here whether it was a batch.
            return super(ImageGenerateOperator, self).resume_execution(next_method, next_kwargs, context)
        except AirflowException as error:
            if type(error).__name__ not in ("TaskDeferralError", "TaskDeferralTimeout"):
                raise
            with for_airflow():
                raise OxenPollError(
                    f"Waiting in the triggerer came to no end: {error}. What this task waits for goes on and "
                    "may have been paid for. The next try calls the function, and looks at it again."
                ) from None

    def defer(
        self,
        *,
        trigger: BaseTrigger,
        method_name: str,
        kwargs: dict[str, Any] | None = None,
        timeout: timedelta | int | float | None = None,
    ) -> NoReturn:
        """Leave the worker, and keep what the function returned; of a batch, its record has the rows."""
        kept = {**(kwargs or {}), "asked": self._asked}
        _deferred.clear()
        _deferred[self._key] = kept
        super().defer(trigger=trigger, method_name=method_name, kwargs=kept, timeout=timeout)

    def on_kill(self) -> None:
        """Do what a kill asks for, as the operator that this is."""
        super().on_kill()
        if self._run is not None:
            self._run.stop()

    def _ask_for(self, asked: Mapping[str, Any]) -> None:
        self._asked = dict(asked)
        self.prompt = asked["prompt"]
        for name in REQUEST:
            setattr(self, name, asked[name])

    def _batch(
        self,
        context: Context,
        do: Callable[[BatchRun], dict[str, Any]],
        deferred: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        from airflow_provider_oxen.batch.run import open_batch

        # It has all arguments of that operator; what was not given is None, which stands for the default.
        with open_batch(cast("ImageBatchGenerateOperator", self), context, deferred) as self._run:
            return do(self._run)

    def _refuse(self, returned: str, names: tuple[str, ...], what: str) -> None:
        from airflow_provider_oxen.api.errors import OxenInvalidRequest

        wrong = [name for name in self._given if name in names]
        if wrong:
            raise OxenInvalidRequest(
                f"The function returned {returned}, and {', '.join(wrong)} can be set for {what} only. "
                "Nothing was sent, nothing was spent."
            )


@overload
def oxen_image_task(python_callable: Callable[_P, _Returned]) -> Task[_P, _Returned]: ...


@overload
def oxen_image_task(
    python_callable: None = None, **kwargs: Any
) -> Callable[[Callable[_P, _Returned]], Task[_P, _Returned]]: ...


def oxen_image_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
    """Make a function into a task that generates what the function returns; see ``docs/decorators.md``.

    In a Dag it goes by ``@task.oxen_image``. The task's result is that of the operator:
    :class:`~airflow_provider_oxen.operators.images.ImageGenerateOperator` where the function returns a text
    or a mapping, :class:`~airflow_provider_oxen.operators.batch.ImageBatchGenerateOperator` where it returns
    a list of these::

        @task.oxen_image(model="z-image-turbo", storage_path="s3://bucket/hero/{{ ds }}/")
        def hero(topic: str, logical_date=None) -> str:
            return f"{topic} in {logical_date:%B}"

    :param python_callable: the function.
    :param kwargs: arguments of the operator, but for the prompts.
    :raises TypeError: where an argument is of no use here, or the function does not return.
    """
    check_arguments(kwargs)
    if python_callable is None:
        return partial(oxen_image_task, **kwargs)
    check_function(python_callable)
    kwargs["multiple_outputs"] = False
    return task_decorator_factory(
        python_callable, decorated_operator_class=_OxenImageDecoratedOperator, **kwargs
    )


def _key(context: Context) -> tuple[Any, ...]:
    ti = context["ti"]
    return ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number
