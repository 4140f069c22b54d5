"""The metadata that Airflow reads about the package: connection type, hooks, operators, sensors, decorators.

Airflow 3.2 and newer build the connection form from ``conn-fields``. Older versions call the hook's methods,
which :mod:`airflow_provider_oxen.hooks.oxen` fills from the same table.
"""

from __future__ import annotations

from typing import Any

__all__ = ["CONFIG", "CONNECTION_TYPE", "get_provider_info"]

_INTEGRATION = "Oxen.ai"

CONNECTION_TYPE: dict[str, Any] = {
    "connection-type": "oxen",
    "hook-class-name": "airflow_provider_oxen.hooks.oxen.OxenHook",
    "hook-name": "Oxen.ai",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "login"],
        "relabeling": {"host": "Hub", "password": "API key"},
        "placeholders": {
            "host": "https://hub.oxen.ai",
            "password": "from your Oxen.ai profile",
            "port": "443",
        },
    },
    "conn-fields": {
        "api_layout": {
            "label": "API layout",
            "description": "Which of the hub's two path layouts to use. auto tries classic, then ai.",
            "schema": {"type": ["string", "null"], "enum": ["auto", "classic", "ai"], "default": "auto"},
        },
        "target_namespace": {
            "label": "Namespace",
            "description": "Who owns the results and is billed, a user or an organisation. Empty: the key's.",
            "schema": {"type": ["string", "null"]},
        },
        "timeout": {
            "label": "Read timeout (s)",
            "description": "Seconds to wait for an answer of the hub. Empty: 300.",
            "schema": {"type": ["integer", "null"], "minimum": 1},
        },
        "max_retries": {
            "label": "Retries",
            "description": "How often a request that may safely be sent again is sent again. Empty: 3.",
            "schema": {"type": ["integer", "null"], "minimum": 0},
        },
        "verify": {
            "label": "CA bundle",
            "description": "true, or the path of a CA bundle on the workers. Empty: true.",
            "schema": {"type": ["string", "null"]},
        },
        "proxy": {
            "label": "Proxy",
            "description": "URL of an HTTP proxy for all requests. Empty: the workers' environment decides.",
            "schema": {"type": ["string", "null"], "format": "password"},
        },
        "allow_http": {
            "label": "Allow http://",
            "description": "Send the key without TLS to a host other than this machine. Leave it off.",
            "schema": {"type": ["boolean", "null"], "default": False},
        },
        "allow_private_links": {
            "label": "Allow private links",
            "description": "Fetch images from private addresses although the hub is at a public one.",
            "schema": {"type": ["boolean", "null"], "default": False},
        },
    },
}


CONFIG: dict[str, Any] = {
    "oxen": {
        "description": "Site-wide defaults of the operators. A task's own arguments override them.",
        "options": {
            "deferrable": {
                "description": "Whether tasks wait in the triggerer. Empty: [operators] default_deferrable.",
                "version_added": "0.1.0",
                "type": "boolean",
                "example": "True",
                "default": None,
            },
            "previews": {
                "description": "Whether tasks push small previews to XCom, for the Images view.",
                "version_added": "0.1.0",
                "type": "boolean",
                "example": "False",
                "default": "True",
            },
            "max_cost": {
                "description": "USD that a task may cost by the catalogue's prices. A default, not a "
                "ceiling: a task may set more. Empty: no limit.",
                "version_added": "0.1.0",
                "type": "float",
                "example": "5",
                "default": None,
            },
            "storage_path": {
                "description": "Folder of the images, ending in /. It may be a template. Empty: a task "
                "without a storage_path returns its image in XCom.",
                "version_added": "0.1.0",
                "type": "string",
                "example": "s3://my_s3@bucket/images/{{ dag.dag_id }}/{{ task.task_id }}/",
                "default": None,
            },
            "view_originals": {
                "description": "Folders, each ending in /, separated by commas. The Images view may open "
                "originals from them. Empty: none.",
                "version_added": "0.1.0",
                "type": "string",
                "example": "s3://my_s3@bucket/images/",
                "default": "",
            },
        },
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-oxen",
        "name": "Oxen.ai",
        "description": "Image generation on the `Oxen.ai <https://www.oxen.ai>`__ hub: "
        "verified images in object storage, links and facts in XCom.",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://docs.oxen.ai",
                "how-to-guide": ["/docs/operators.md", "/docs/batches.md", "/docs/decorators.md"],
                "logo": "/docs/integration-logos/oxen-images.svg",
                "tags": ["ai", "generative-ai"],
            }
        ],
        "hooks": [{"integration-name": _INTEGRATION, "python-modules": ["airflow_provider_oxen.hooks.oxen"]}],
        "operators": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "airflow_provider_oxen.operators.batch",
                    "airflow_provider_oxen.operators.images",
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "airflow_provider_oxen.sensors.generations",
                    "airflow_provider_oxen.sensors.models",
                ],
            }
        ],
        "triggers": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "airflow_provider_oxen.triggers.batches",
                    "airflow_provider_oxen.triggers.generation_events",
                    "airflow_provider_oxen.triggers.generations",
                    "airflow_provider_oxen.triggers.models",
                ],
            }
        ],
        "task-decorators": [
            {
                "name": "oxen_image",
                "class-name": "airflow_provider_oxen.decorators.images.oxen_image_task",
            }
        ],
        "connection-types": [CONNECTION_TYPE],
        "config": CONFIG,
        "extra-links": [
            "airflow_provider_oxen.links.OxenImageLink",
            "airflow_provider_oxen.links.OxenGenerationLink",
            "airflow_provider_oxen.links.OxenModelLink",
        ],
        "plugins": [
            {"name": "oxen", "plugin-class": "airflow_provider_oxen.plugins.gallery.OxenPlugin"},
        ],
    }
