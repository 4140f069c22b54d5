"""The hook: it turns an Airflow connection into a client of the hub."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseHook

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Connection, ObjectStoragePath

    from airflow_provider_oxen.api.client import AsyncClient, Client
    from airflow_provider_oxen.api.models import GenerateAnswer, GenerateRequest, Generation, ImageItem, Model
    from airflow_provider_oxen.api.settings import Settings

__all__ = ["OxenHook"]


class OxenHook(BaseHook):
    """Talk to the Oxen.ai hub with the key of an Airflow connection.

    Every method raises an :class:`~airflow_provider_oxen.api.errors.OxenError` that says whether money was
    spent. Use the clients as context managers::

        with OxenHook().get_conn() as client:
            client.send(calls.list_models())

    :param oxen_conn_id: the Airflow connection of type ``oxen``.
    """

    conn_name_attr = "oxen_conn_id"
    default_conn_name = "oxen_default"
    conn_type = "oxen"
    hook_name = "Oxen.ai"

    def __init__(self, oxen_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.oxen_conn_id = oxen_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return a WTForms field for each extra, for Airflow before 3.2; newer versions read the metadata."""
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from wtforms import BooleanField, IntegerField, PasswordField, StringField
        from wtforms.validators import NumberRange, Optional, any_of

        from airflow_provider_oxen.provider_info import CONNECTION_TYPE

        fields: dict[str, Any] = {}
        for name, field in CONNECTION_TYPE["conn-fields"].items():
            rules = field["schema"]
            common = {key: field[key] for key in ("label", "description")} | {"default": rules.get("default")}
            if "boolean" in rules["type"]:
                fields[name] = BooleanField(**common)
            elif "integer" in rules["type"]:
                checks = [Optional(), NumberRange(min=rules["minimum"])]
                fields[name] = IntegerField(widget=BS3TextFieldWidget(), validators=checks, **common)
            elif rules.get("format") == "password":
                fields[name] = PasswordField(widget=BS3PasswordFieldWidget(), **common)
            else:
                checks = [Optional()] + ([any_of(rules["enum"])] if "enum" in rules else [])
                fields[name] = StringField(widget=BS3TextFieldWidget(), validators=checks, **common)
        return fields

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return which standard fields are hidden and how the others are labelled, for Airflow before 3.2."""
        from airflow_provider_oxen.provider_info import CONNECTION_TYPE

        behaviour = deepcopy(CONNECTION_TYPE["ui-field-behaviour"])
        return {name.replace("-", "_"): value for name, value in behaviour.items()}

    def settings(self) -> Settings:
        """Return the connection, read and checked.

        :raises OxenSettingsError: if the connection does not exist, or a field is unknown, malformed or
            unsafe. The message names the connection.
        """
        from airflow_provider_oxen.hooks.connection import read_connection, translate_not_found

        with translate_not_found(self.oxen_conn_id):
            conn = self.get_connection(self.oxen_conn_id)
        return read_connection(self.oxen_conn_id, conn)

    async def asettings(self) -> Settings:
        """Return the connection, read without blocking the event loop.

        Uses ``aget_connection`` if a subclass defines it; otherwise runs :meth:`settings` in a thread.
        """
        from asgiref.sync import sync_to_async

        from airflow_provider_oxen.hooks.connection import read_connection, translate_not_found

        if _is_own(type(self), "aget_connection"):
            with translate_not_found(self.oxen_conn_id):
                conn = await self.aget_connection(self.oxen_conn_id)
            return read_connection(self.oxen_conn_id, conn)
        # Airflow before 3.3.2 masks a connection's secrets with a call that blocks.
        return await sync_to_async(self.settings)()

    @classmethod
    async def aget_connection(cls, conn_id: str) -> Connection:
        """Return the Airflow connection without blocking the event loop, by a subclass's ``get_connection``.

        Before Airflow 3.1, ``BaseHook`` has no such method.
        """
        from asgiref.sync import sync_to_async

        if _is_own(cls, "get_connection") or not hasattr(BaseHook, "aget_connection"):
            return await sync_to_async(cls.get_connection)(conn_id)
        return await super().aget_connection(conn_id)

    def get_conn(self) -> Client:
        """Return a client. Close it, or use it as a context manager."""
        from airflow_provider_oxen.api.client import Client

        return Client(self.settings())

    async def get_async_conn(self) -> AsyncClient:
        """Return an async client, for triggers and ``async`` tasks. Close it, or use it as a context."""
        import asyncio

        from airflow_provider_oxen.api.client import AsyncClient
        from airflow_provider_oxen.api.tls import ssl_context

        settings = await self.asettings()
        # The first TLS context of a process reads the CA bundle: do it off the loop.
        await asyncio.to_thread(ssl_context, settings.verify)
        return AsyncClient(settings)

    def generate_image(
        self,
        prompt: str,
        model: str,
        *,
        response_format: Literal["url", "b64_json"] = "url",
        image_size: str | Mapping[str, int] | None = None,
        num_inference_steps: int | None = None,
        seed: int | None = None,
        target_namespace: str | None = None,
        model_params: Mapping[str, Any] | None = None,
    ) -> GenerateAnswer:
        """Ask for an image and wait for it. **Each call that is accepted costs money.**

        The operator does more: it checks the model first, keeps the image, and does not pay for it twice. The
        parameters are those of :class:`~airflow_provider_oxen.operators.images.ImageGenerateOperator`.

        :return: the images as links or base64 text; :meth:`download` fetches either.
        :raises OxenOutcomeUnknown: if the answer was lost and the image may have been paid for.
        """
        from airflow_provider_oxen.api import calls

        with self.get_conn() as client:
            request = _request(
                client.settings,
                prompt,
                model,
                response_format=response_format,
                image_size=image_size,
                num_inference_steps=num_inference_steps,
                seed=seed,
                target_namespace=target_namespace,
                model_params=model_params,
            )
            return client.send(calls.generate(request))

    async def agenerate_image(self, prompt: str, model: str, **arguments: Any) -> GenerateAnswer:
        """Ask for an image and wait for it, without blocking the event loop; see :meth:`generate_image`."""
        from airflow_provider_oxen.api import calls

        async with await self.get_async_conn() as client:
            return await client.send(calls.generate(_request(client.settings, prompt, model, **arguments)))

    def get_model(self, model: str) -> Model:
        """Return a model from the catalogue with its request schema. Free.

        :raises OxenModelNotFound: if the hub does not know the model.
        """
        from airflow_provider_oxen.api import calls

        with self.get_conn() as client:
            return client.send(calls.get_model(model))

    def get_price(self, model: str, parameters: Mapping[str, Any] | None = None) -> float | None:
        """Return what one request costs by the catalogue, in USD; None where that has no price for it. Free.

        :param parameters: of the request, such as ``{"quality": "low"}``; the model's defaults stand in for
            the others.
        :raises OxenModelNotFound: where the hub does not know the model.
        """
        from airflow_provider_oxen.api import calls
        from airflow_provider_oxen.catalogue.price import price

        with self.get_conn() as client:
            return price(client.send(calls.get_priced_model(model)), parameters or {})

    def list_models(self, output: str | None = "image", search: str | None = None) -> list[Model]:
        """Return the models in the catalogue that make ``output``. Free.

        :param output: ``image``, ``video``, ``text``…; None for all models.
        :param search: return only the models that the hub finds for these words.
        """
        from airflow_provider_oxen.api import calls

        with self.get_conn() as client:
            models = client.send(calls.list_models(search))
        return [model for model in models if output is None or output in model.outputs]

    def get_generation(self, generation_id: str) -> Generation:
        """Return the status of a generation in the queue; a finished one has a ``result_url``. Free.

        :raises OxenGenerationNotFound: if the hub does not know the generation.
        """
        from airflow_provider_oxen.api import queue

        with self.get_conn() as client:
            return client.send(queue.get_generation(generation_id))

    def cancel_generation(self, generation_id: str) -> None:
        """Cancel a generation in the queue. Whether the hub bills a cancelled one is not documented.

        :raises OxenInvalidRequest: if the generation has already ended.
        """
        from airflow_provider_oxen.api import queue

        with self.get_conn() as client:
            client.send(queue.cancel(generation_id))

    def download(
        self,
        image: ImageItem | Mapping[str, Any],
        path: str | os.PathLike[str] | ObjectStoragePath,
        *,
        overwrite: bool = False,
        max_bytes: int = 256 * 1024 * 1024,
        storage_options: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Fetch an image, prove that it is whole, and write it to a local path or an object store.

        :param image: an item of an answer, or the same as a mapping (``{"url": …}``, ``{"b64_json": …}``).
        :param path: the file to write, as a text or a path object; a path object's own connection is used.
            The suffix is kept as it is. A local file appears whole or not at all.
        :param overwrite: replace an existing file.
        :param max_bytes: largest image to fetch, in bytes.
        :param storage_options: options for each write to an object store, such as
            ``{"ServerSideEncryption": "aws:kms"}``; no credentials.
        :return: a mapping of ``path, media_type, width, height, bytes, sha256``.
        :raises OxenImageError: if the image cannot be fetched, proved to be whole (then the bytes are kept as
            ``<path>.rejected``), or written.
        """
        from airflow_provider_oxen.images import download

        with self.get_conn() as client:
            return download.to_path(
                client,
                image,
                path,
                overwrite=overwrite,
                max_bytes=max_bytes,
                storage_options=storage_options,
            )

    def test_connection(self) -> tuple[bool, str]:
        """Check host, layout and key, free of charge and within seconds.

        :return: whether the connection works, and a sentence that never shows the key.
        """
        from airflow_provider_oxen.hooks.connection import check

        return check(self.settings)


def _is_own(kind: type[OxenHook], name: str) -> bool:
    """Return whether a subclass defines this method itself."""
    below = kind.__mro__[: kind.__mro__.index(OxenHook)]
    return any(name in vars(one) for one in below)


def _request(settings: Settings, prompt: str, model: str, **arguments: Any) -> GenerateRequest:
    from airflow_provider_oxen.api.keyless import names_with_key, refuse_key
    from airflow_provider_oxen.jobs.request import RequestArguments

    asked = {"prompt": prompt, "model": model, **arguments}
    refuse_key(names_with_key(asked, settings.api_key))
    request = RequestArguments.read(asked).request()
    if request.target_namespace is None:
        request = request.model_copy(update={"target_namespace": settings.target_namespace})
    return request
