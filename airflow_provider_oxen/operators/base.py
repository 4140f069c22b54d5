"""What the two operators that generate images share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowException, BaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

__all__ = ["GeneratingOperator", "resume_batch", "run_batch", "templated"]

_OF_FUNCTIONS = ("op_args", "op_kwargs", "templates_dict")
"""Arguments that Airflow passes to a Dag author's function. They are not part of the request to the hub."""


def templated(init: Callable[..., None]) -> tuple[str, ...]:
    """Return the names of an operator's own templated arguments: all of them except ``deferrable``.

    :param init: the operator's ``__init__``, whose own arguments are all keyword-only.
    """
    own = (
        argument
        for argument in signature(init).parameters.values()
        if argument.kind is Parameter.KEYWORD_ONLY
    )
    return tuple(argument.name for argument in own if argument.name != "deferrable")


class GeneratingOperator(BaseOperator):
    """Base of the operators that generate images. A pydantic model reads the arguments when the task runs."""

    template_fields_renderers: ClassVar[dict[str, str]] = {"model_params": "json", "storage_options": "json"}
    ui_color = "#e8f0e4"
    oxen_conn_id: str
    at_stake: ClassVar[str]
    """Subject of the sentence "… may have been paid for." in the error for a deferred wait that failed."""

    pushed_links: dict[str, str] | None = None
    """Links that this instance has pushed, by XCom key. An empty text is a link that has not been pushed
    yet."""

    lineage: Callable[[], OperatorLineage[Any, Any]] | None = None
    """Returns the lineage for OpenLineage. None until the outputs exist."""

    this_try: Any = None
    """What this try does in this process. ``on_kill`` calls its ``stop()``."""

    def render_template(
        self, content: Any, context: Context, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render a template, also inside a path object; Airflow itself renders only its own kind of path."""
        from airflow_provider_oxen.images.paths import to_render

        if content is getattr(self, "storage_path", None) or content is getattr(self, "prompts", None):
            content = to_render(content)
        return super().render_template(content, context, jinja_env, seen_oids)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the trigger has fired or failed.

        :raises OxenPollError: if the trigger failed or timed out; generations may have been paid for by then.
        """
        from airflow_provider_oxen.api.errors import OxenPollError
        from airflow_provider_oxen.api.redact import without_queries
        from airflow_provider_oxen.hooks.failures import for_airflow

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowException as error:
            if type(error).__name__ not in ("TaskDeferralError", "TaskDeferralTimeout"):
                raise
            # Airflow raises these two for a trigger that failed, and for one that did not fire in time.
            with for_airflow():
                raise OxenPollError(
                    f"The deferred wait failed: {without_queries(str(error))}.",
                    money=f"{self.at_stake} may have been paid for.",
                    retry="The next try checks again.",
                    remedy="If no retry is left, clear the task: what was paid for is fetched without "
                    "paying again.",
                ) from None

    def on_kill(self) -> None:
        """Send nothing more, and log what happens to requests under way; the next try finds them."""
        if self.this_try is not None:
            self.this_try.stop()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return the model and the files for OpenLineage, the only caller of this method."""
        return self.lineage() if self.lineage else None

    def arguments_with_key(self) -> list[str]:
        """Return the names of rendered arguments that contain the API key. A batch also checks its rows.

        From here on, no message of this process shows that key. This method raises nothing: if the connection
        cannot be read, the code that needs it next reports the error.
        """
        from airflow_provider_oxen.api.keyless import names_with_key
        from airflow_provider_oxen.hooks.oxen import OxenHook
        from airflow_provider_oxen.images.paths import to_render
        from airflow_provider_oxen.jobs.arguments import given

        try:
            conn_id = given(self.oxen_conn_id, OxenHook.default_conn_name)
            key = OxenHook(str(conn_id)).settings().api_key
        except Exception:
            return []
        names = [name for name in ("prompt", *self.template_fields) if name not in _OF_FUNCTIONS]
        values = {name: to_render(getattr(self, name, None)) for name in names}
        if not isinstance(values.get("prompts"), str):
            values.pop("prompts", None)
        return names_with_key(values, key)

    def begun(self, context: Context, secret: Sequence[str]) -> AbstractContextManager[None]:
        """Record that nothing was sent yet. If the block fails, keep that record beside the output.

        :param secret: names of arguments that contain the key. If ``storage_path`` is one of them, no record
            is written, because its file name would contain the key.
        """
        from airflow_provider_oxen.tasks.beginning import begin, begun

        if "storage_path" in secret:
            return nullcontext()
        begin(self, context)
        return begun(self, context)


def run_batch(operator: Any, context: Context) -> dict[str, Any]:
    """Generate the missing images, for any operator that has the arguments of a batch."""
    from airflow_provider_oxen.batch.opening import open_batch
    from airflow_provider_oxen.tasks.beginning import begun, forget

    with ExitStack() as opened:
        with begun(operator, context, sends=False):
            operator.this_try = run = opened.enter_context(open_batch(operator, context))
        if context["ti"].try_number > 1:
            forget(operator, context)
        return run.run()


def resume_batch(
    operator: Any, context: Context, event: Mapping[str, Any] | None, batch: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Resume a deferred batch; see ``execute_complete`` of the batch operator."""
    from airflow_provider_oxen.batch.opening import open_batch
    from airflow_provider_oxen.hooks.failures import waited_for

    # It has waited also where Airflow has lost what it was deferred with.
    with waited_for("What this batch has waited for"), open_batch(operator, context, batch or {}) as run:
        operator.this_try = run
        return run.resume(event, batch)
