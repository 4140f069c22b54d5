"""The connection form of the older Airflow lines is the one that the metadata gives to the newer ones."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.provider_info import CONNECTION_TYPE

FIELDS = CONNECTION_TYPE["conn-fields"]


def test_standard_fields_are_those_of_the_metadata():
    behaviour = CONNECTION_TYPE["ui-field-behaviour"]

    assert OxenHook.get_ui_field_behaviour() == {
        "hidden_fields": behaviour["hidden-fields"],
        "relabeling": behaviour["relabeling"],
        "placeholders": behaviour["placeholders"],
    }


def test_metadata_does_not_change_with_what_a_form_makes_of_it():
    OxenHook.get_ui_field_behaviour()["hidden_fields"].append("host")
    OxenHook.get_ui_field_behaviour()["relabeling"]["host"] = "Server"

    assert OxenHook.get_ui_field_behaviour()["hidden_fields"] == ["schema", "login"]
    assert OxenHook.get_ui_field_behaviour()["relabeling"]["host"] == "Hub"


class TestWidgets:
    """The extra fields, as a form of wtforms."""

    @pytest.fixture
    def filled(self):
        pytest.importorskip("flask_appbuilder", reason="only the lines before Airflow 3 have such forms")
        import wtforms

        form_class = type("Form", (wtforms.Form,), OxenHook.get_connection_form_widgets())
        return lambda **values: form_class(data=values)

    def test_fields_are_those_of_the_metadata(self, filled):
        fields = {field.name: field for field in filled()}

        assert list(fields) == list(FIELDS)
        for name, field in fields.items():
            assert (field.label.text, field.description) == (
                FIELDS[name]["label"],
                FIELDS[name]["description"],
            )
            assert field.default == FIELDS[name]["schema"].get("default")

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("api_layout", "StringField"),
            ("target_namespace", "StringField"),
            ("timeout", "IntegerField"),
            ("max_retries", "IntegerField"),
            ("verify", "StringField"),
            ("proxy", "PasswordField"),
            ("allow_http", "BooleanField"),
            ("allow_private_links", "BooleanField"),
        ],
    )
    def test_field_is_of_its_type(self, filled, name, kind):
        assert filled()[name].type == kind

    @pytest.mark.parametrize(
        "values",
        [
            {},
            {"api_layout": "", "timeout": None, "max_retries": None},
            {"api_layout": "ai", "timeout": 1, "max_retries": 0, "verify": "/etc/ca", "allow_http": True},
        ],
        ids=str,
    )
    def test_form_takes_what_the_metadata_allows(self, filled, values):
        assert filled(**values).validate()

    @pytest.mark.parametrize("values", [{"api_layout": "new"}, {"timeout": 0}, {"max_retries": -1}], ids=str)
    def test_form_refuses_what_the_metadata_does(self, filled, values):
        wrong = filled(**values)
        # Fields count as filled where a browser has sent something.
        for name, value in values.items():
            wrong[name].raw_data = [str(value)]

        assert not wrong.validate()
        assert list(wrong.errors) == list(values)

    def test_form_shows_no_password(self, filled):
        assert "secret" not in str(filled(proxy="http://user:secret@proxy.example")["proxy"]())
