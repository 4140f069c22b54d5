"""Open the folder that a path names: on this machine, or in an object store by ``ObjectStoragePath``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from airflow_provider_oxen.api.errors import OxenError, OxenInvalidRequest, OxenStoreUnavailable
from airflow_provider_oxen.api.redact import describe_error, without_queries
from airflow_provider_oxen.connections import missing
from airflow_provider_oxen.images.folder import Folder
from airflow_provider_oxen.images.local import LocalFolder
from airflow_provider_oxen.images.objects import ObjectFolder
from airflow_provider_oxen.images.paths import own_connection
from airflow_provider_oxen.images.stores import S3, is_final, keywords, store_of, warn_of_old_driver

__all__ = ["Folder", "LocalFolder", "ObjectFolder", "open_folder", "with_store_errors"]

T = TypeVar("T")

_AMBIENT = "aws_default"
"""If this connection is not defined, the worker's own credentials are meant; many deployments have nothing
else."""


def open_folder(
    path: str,
    conn_id: str | None,
    options: Mapping[str, Any] | None = None,
    conn_name: str = "storage_conn_id",
) -> Folder:
    """Return the folder that a local path or a URL names. The store is not contacted yet.

    :param path: a folder as :func:`.names.locate` returns it.
    :param options: options for each write; see :mod:`.stores`.
    :param conn_name: the argument that names the connection.
    :raises OxenInvalidRequest: if the driver or the connection is missing, or the store cannot be opened.
    :raises OxenStoreUnavailable: if the connection may be missing only now.
    """
    if path.startswith("/"):
        if options:
            raise OxenInvalidRequest(
                "storage_options are for object stores: a folder of this machine takes none."
            )
        return LocalFolder(path)
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, ObjectStoragePath

    scheme = urlsplit(path).scheme
    user = conn_id or own_connection(path)
    try:
        if user and user != _AMBIENT and store_of(scheme) is S3:
            # Without this check, Amazon's provider would use whatever credentials the worker has.
            BaseHook.get_connection(user)
        place = ObjectStoragePath(path, conn_id=conn_id) if conn_id else ObjectStoragePath(path)
        protocol, fs = str(place.protocol), place.fs
    except AirflowNotFoundException as error:
        raise _undefined(path, user, conn_name, error) from None
    except (ImportError, ValueError) as error:
        raise OxenInvalidRequest(
            f"storage_path {path!r} cannot be opened: {without_queries(str(error))}.", remedy=_advice(scheme)
        ) from None
    warn_of_old_driver(store_of(protocol))
    return ObjectFolder(fs, protocol, str(place.path), user, keywords(protocol, options or {}))


def with_store_errors(folder: Folder, ask: Callable[[], T]) -> T:
    """Call a store before anything is spent, and turn its errors into ours.

    :raises OxenInvalidRequest: if the place cannot be written to.
    :raises OxenStoreUnavailable: if the store does not answer.
    """
    try:
        return ask()
    except OxenError:
        raise
    except Exception as error:
        if is_final(error):
            raise OxenInvalidRequest(
                f"storage_path {folder.asset_uri('')!r} cannot be written to: {describe_error(error)}.",
                remedy="Give a folder or bucket that exists, or can be made, and that this worker may write "
                "to; set the headers that a bucket asks for in storage_options.",
            ) from None
        raise OxenStoreUnavailable(
            f"The store of {folder.asset_uri('')} does not answer, or takes no files now: "
            f"{describe_error(error)}."
        ) from None


def _undefined(path: str, conn_id: str | None, conn_name: str, error: Exception) -> OxenError:
    what = f"storage_path {without_queries(repr(path))} cannot be opened:"
    if conn_id is None:
        return OxenInvalidRequest(f"{what} {without_queries(str(error))}.")
    why = missing(conn_id, conn_name)
    kind = OxenStoreUnavailable if why.may_pass else OxenInvalidRequest
    return kind(f"{what} {why.message}")


def _advice(scheme: str) -> str:
    if store := store_of(scheme):
        floor = ".".join(map(str, store.floor))
        return f"Install the driver: pip install '{store.provider}' '{store.driver}>={floor}'."
    return (
        "Give an absolute path, or a URL of s3://, gs:// or abfs://. Another scheme needs an Airflow "
        "provider that registers it."
    )
