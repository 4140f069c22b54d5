"""``@task.oxen_image``: a function that returns what to draw."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, ParamSpec, TypeVar, cast, overload

from airflow.providers.common.compat.sdk import (
    DecoratedOperator,
    context_merge,
    task_decorator_factory,
)

from airflow_provider_oxen.links import OxenImageLink
from airflow_provider_oxen.operators.base import resume_batch, run_batch
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator

try:
    # The compat provider has a name for it from 1.15 on, which Airflow's constraints allow from 3.2 on.
    from airflow.sdk.bases.decorator import determine_kwargs
except ImportError:
    # Airflow 2 has it here, where the types of Airflow 3 do not.
    from airflow.utils.operator_helpers import determine_kwargs  # type: ignore[attr-defined]

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    # The compat provider has no name for it.
    from airflow.sdk.bases.decorator import Task

__all__ = ["oxen_image_task"]

_FOR_NONE = ("prompt", "prompts", "prompts_conn_id")
"""Arguments that the function's return value replaces."""

_ONE, _MANY = ImageGenerateOperator.template_fields, ImageBatchGenerateOperator.template_fields

_FOR_ONE = tuple(name for name in _ONE if name not in (*_MANY, *_FOR_NONE))
"""Arguments that only the operator for one image takes."""

_FOR_MANY = tuple(name for name in _MANY if name not in (*_ONE, *_FOR_NONE))
"""Arguments that only the batch operator takes."""

_P = ParamSpec("_P")
_Returned = TypeVar("_Returned", bound="str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]")

_deferred: dict[tuple[Any, ...], dict[str, Any]] = {}
"""The ``kwargs`` of the last deferral in this process, by task instance and try. A worker gets them back from
Airflow. ``dag.test()`` resumes the same task object in the same process and passes only the event."""


class _OxenImageDecoratedOperator(DecoratedOperator, ImageGenerateOperator):
    """Calls the function, then runs as the operator for one image or for a batch, as the return value says.

    The return value is kept when the task is deferred: the function is not called again to resume.

    :param python_callable: returns a text, a mapping (a ``prompt`` and any field of the request), or a list
        of these. The return value is used as it is; templates in it are not rendered.
    :param op_args: positional arguments of the function; templated.
    :param op_kwargs: keyword arguments of the function; templated.
    :param kwargs: arguments of either operator, except the prompts.
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        # Without the prompt: Airflow would render what the function returned.
        *(name for name in ImageGenerateOperator.template_fields if name != "prompt"),
        *_FOR_MANY,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **ImageGenerateOperator.template_fields_renderers,
    }
    custom_operator_name: str = "@task.oxen_image"
    # It is not known here whether the task was a batch.
    at_stake = "What this task waits for continues and"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        defaults = kwargs.get("default_args") or {}
        # A Dag's default arguments are for all of its tasks, and each task takes those it knows. Airflow 2.11
        # passes all of them to a mapped task as if they were the task's own.
        own = {
            name: value
            for name, value in kwargs.items()
            if not (name in defaults and value == defaults[name])
        }
        _check_arguments(own)
        for_many = {name: kwargs.pop(name, defaults.get(name)) for name in _FOR_MANY}
        for name in _FOR_NONE:
            kwargs.pop(name, None)
        # Each row may name its own model.
        kwargs.setdefault("model", defaults.get("model"))
        super().__init__(
            python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, prompt=None, **kwargs
        )
        for name, value in for_many.items():
            setattr(self, name, value)
        self.prompts: Sequence[Any] = ()
        self.prompts_conn_id: str | None = None
        self._given = _given(own, (*_FOR_ONE, *_FOR_MANY))
        self._key: tuple[Any, ...] = ()

    def execute(self, context: Context) -> dict[str, Any]:
        """Call the function, and generate what it returned."""
        from airflow_provider_oxen.api.keyless import refuse_key
        from airflow_provider_oxen.decorators.returned import is_many, read_one
        from airflow_provider_oxen.hooks.failures import for_airflow
        from airflow_provider_oxen.jobs.request import RequestArguments
        from airflow_provider_oxen.tasks.beginning import forget

        self._key = _key(context)
        self.pushed_links = {link.key: "" for link in self.operator_extra_links}
        secret = self.arguments_with_key()
        # The function may raise; then the next try must know that nothing was sent.
        begun = self.begun(context, secret)
        context_merge(context, self.op_kwargs)
        with begun:
            arguments = determine_kwargs(self.python_callable, self.op_args, context)
            returned = self.python_callable(*self.op_args, **arguments)
        with for_airflow():
            if is_many(returned):
                self._refuse("a list, which is a batch", _FOR_ONE, "one image")
                self.prompts = returned
                forget(self, context)
                refuse_key(secret)
                return run_batch(self, context)
            asked = read_one(returned, {name: getattr(self, name) for name in RequestArguments.names()})
            self._refuse("one prompt", _FOR_MANY, "a list of them")
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
        """Resume when the trigger has seen the end; the function is not called.

        :param event: the trigger's event.
        :param job: for one image: its record at the time of the deferral, and the arguments, including what
            the function returned.
        :param asked: for one image deferred by an earlier version: the request that the function returned.
        :param batch: for a batch: its folder at the time of the deferral, the USD spent by then, and the
            arguments.
        """
        from airflow_provider_oxen.api.errors import OxenPollError
        from airflow_provider_oxen.decorators.returned import GoneRows
        from airflow_provider_oxen.hooks.failures import for_airflow
        from airflow_provider_oxen.tasks.deferral import has_arguments, restore

        self._key = _key(context)
        self.pushed_links = {OxenImageLink.key: ""}
        is_one = asked is not None or has_arguments(job)
        if not is_one and batch is None and (kept := _deferred.pop(self._key, None)):
            return self.execute_complete(context, event, **kept)
        if is_one:
            self._ask_for(asked or {})
            return super().execute_complete(context, event, job)
        batch = restore(self, batch, ImageBatchGenerateOperator.template_fields)
        with for_airflow():
            if batch is None:
                raise OxenPollError(
                    "This task was resumed, but what its function returned is lost; the function is not "
                    "called again in this try.",
                    money="Generations may have been paid for.",
                    retry="The next try calls the function, and finds them.",
                )
            self.prompts = GoneRows()
            return resume_batch(self, context, event, batch)

    def defer(self, *, kwargs: dict[str, Any] | None = None, **how: Any) -> NoReturn:
        """Defer, and keep what the function returned; the rows of a batch are in its record."""
        kept = dict(kwargs or {})
        _deferred.clear()
        _deferred[self._key] = kept
        super().defer(kwargs=kept, **how)

    def _ask_for(self, asked: Mapping[str, Any]) -> None:
        from airflow_provider_oxen.jobs.request import RequestArguments

        for name in asked.keys() & {*RequestArguments.names()}:
            setattr(self, name, asked[name])

    def _refuse(self, returned: str, names: tuple[str, ...], what: str) -> None:
        from airflow_provider_oxen.api.errors import OxenInvalidRequest

        wrong = [name for name in self._given if name in names]
        if wrong:
            raise OxenInvalidRequest(
                f"The function returned {returned}, and {', '.join(wrong)} can be set for {what} only."
            )


@overload
def oxen_image_task(python_callable: Callable[_P, _Returned]) -> Task[_P, _Returned]: ...


@overload
def oxen_image_task(
    python_callable: None = None, **kwargs: Any
) -> Callable[[Callable[_P, _Returned]], Task[_P, _Returned]]: ...


def oxen_image_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
    """Turn a function into a task that generates what the function returns; see ``docs/decorators.md``.

    In a Dag, write ``@task.oxen_image``. The task returns the result of its operator:
    :class:`~airflow_provider_oxen.operators.images.ImageGenerateOperator` if the function returns a text or a
    mapping, :class:`~airflow_provider_oxen.operators.batch.ImageBatchGenerateOperator` if it returns a list
    of these::

        @task.oxen_image(model="z-image-turbo", storage_path="s3://bucket/hero/{{ ds }}/", retries=2)
        def hero(topic: str, logical_date=None) -> str:
            return f"{topic} in {logical_date:%B}"

    :param python_callable: the function.
    :param kwargs: arguments of the operator, except the prompts.
    :raises TypeError: if an argument has no use here, or the function is async or a generator.
    """
    _check_arguments(kwargs)
    if python_callable is None:
        return partial(oxen_image_task, **kwargs)
    if inspect.iscoroutinefunction(python_callable) or inspect.isasyncgenfunction(python_callable):
        raise TypeError("@task.oxen_image takes a plain function, not an async one.")
    if inspect.isgeneratorfunction(python_callable):
        raise TypeError("@task.oxen_image takes a function that returns, not one that yields: return a list.")
    kwargs["multiple_outputs"] = False
    return task_decorator_factory(
        python_callable, decorated_operator_class=_OxenImageDecoratedOperator, **kwargs
    )


def _key(context: Context) -> tuple[Any, ...]:
    ti = context["ti"]
    return ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number


def _check_arguments(kwargs: Mapping[str, Any]) -> None:
    """Refuse arguments that are wrong whatever the function returns.

    :raises TypeError: naming the arguments.
    """
    if unused := [name for name in _FOR_NONE if name in kwargs]:
        raise TypeError(
            f"@task.oxen_image takes no {', '.join(unused)}: the prompt is what the function returns."
        )
    if kwargs.get("multiple_outputs"):
        raise TypeError("@task.oxen_image has one output, its operator's result: leave multiple_outputs out.")
    one, many = _given(kwargs, _FOR_ONE), _given(kwargs, _FOR_MANY)
    if one and many:
        raise TypeError(
            f"@task.oxen_image takes {', '.join(one)} for one image, and {', '.join(many)} for a list of "
            "them; a function returns one or the other."
        )


def _given(kwargs: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return the names that have a value other than None."""
    return [name for name in names if kwargs.get(name) is not None]
