"""The connection form for Airflow lines that ask the hook for it (before 3.2), from the same table
that newer lines read out of the provider's metadata."""

from __future__ import annotations

from typing import Any

from airflow_provider_oxen.provider_info import CONNECTION_TYPE

__all__ = ["field_behaviour", "widgets"]


def field_behaviour() -> dict[str, Any]:
    """Return which standard fields are hidden and what the others are called."""
    behaviour = CONNECTION_TYPE["ui-field-behaviour"]
    return {
        "hidden_fields": list(behaviour["hidden-fields"]),
        "relabeling": dict(behaviour["relabeling"]),
        "placeholders": dict(behaviour["placeholders"]),
    }


def widgets() -> dict[str, Any]:
    """Return a WTForms field for each extra of the connection, as the older lines' form shows them."""
    from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
    from wtforms import BooleanField, IntegerField, PasswordField, StringField
    from wtforms.validators import NumberRange, Optional, any_of

    fields: dict[str, Any] = {}
    for name, field in CONNECTION_TYPE["conn-fields"].items():
        rules = field["schema"]
        common = {
            "label": field["label"],
            "description": field["description"],
            "default": rules.get("default"),
        }
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
