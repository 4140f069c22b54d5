from __future__ import annotations

import pytest

from airflow_provider_oxen.localhub import HubSettings


def test_unknown_setting_is_an_error_and_not_a_test_that_passes_for_nothing():
    with pytest.raises(AttributeError, match=r"no setting 'rate'; it has .*rate_limit"):
        HubSettings().rate = 3


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("key", "", "key must be a text that is not empty, not ''"),
        ("latency", -1, "latency must be a number of at least 0, not -1"),
        ("latency", "1", "latency must be a number, not '1'"),
        ("at_once", 0, "at_once must be an integer of at least 1, or none, not 0"),
        ("ready_made", 1, "ready_made must be true or false, not 1"),
        ("ready_made_bytes", None, "ready_made_bytes must be an integer of at least 0, not None"),
        ("ready_made_bytes", -1, "ready_made_bytes must be an integer of at least 0, not -1"),
        ("credits", True, "credits must be a number, not True"),
        ("layouts", "new", "layouts must be classic, ai or both, not 'new'"),
        ("layouts", ["ai", "new"], "layouts must be classic, ai or both"),
        ("rate_limit", 1.5, "rate_limit must be an integer of at least 0, or none, not 1.5"),
        ("namespaces", "acme", "namespaces must be a list of names, not 'acme'"),
        ("namespaces", [], "namespaces must be a list of names"),
        ("authorize", 1, "authorize must be true or false, not 1"),
        ("answer", "data", "answer must be one of images, image_url, not 'data'"),
        ("error_shape", "html", "error_shape must be one of typed, message, not 'html'"),
        ("queue_wait", -1, "queue_wait must be a number of at least 0, not -1"),
        ("workers", -1, "workers must be an integer of at least 0, or none, not -1"),
        ("queue_bills", "never", "queue_bills must be one of success, enqueue, not 'never'"),
        ("row_keys", "name", "row_keys must be one of model_name, model, not 'name'"),
        ("list_delay", "1", "list_delay must be a number, not '1'"),
        ("detail_delay", None, "detail_delay must be a number, not None"),
        ("cancel_ended", True, "cancel_ended must be one of error, ignore, not True"),
        ("history_detail", "row", "history_detail must be one of wrapped, bare, not 'row'"),
        ("history_shows_generate", 1, "history_shows_generate must be true or false, not 1"),
        ("default_size", 512, "default_size must be a width and a height in pixels, not 512"),
        ("default_size", (1, 2, 3), "default_size must be a width and a height in pixels"),
        ("user", "me", "user must be an object with name and email, not 'me'"),
        ("catalogue", [{"name": "x"}], "catalogue must be a list of models, each with an id"),
    ],
)
def test_wrong_value_is_refused_by_name(name, value, message):
    settings = HubSettings()
    with pytest.raises(ValueError, match=message):
        setattr(settings, name, value)
    with pytest.raises(ValueError, match=message):
        settings.update({name: value})
    assert settings == HubSettings()


def test_update_sets_all_or_nothing():
    settings = HubSettings()
    with pytest.raises(ValueError, match="credits"):
        settings.update({"latency": 3, "credits": "much"})
    with pytest.raises(ValueError, match=r"no such setting: speed; there are key, latency"):
        settings.update({"latency": 3, "speed": 1})
    assert settings.latency == 0

    settings.update({"latency": 3, "layouts": ["ai"], "namespaces": ["acme"], "rate_limit": None})
    assert (settings.latency, settings.layouts, settings.namespaces) == (3.0, frozenset({"ai"}), ("acme",))


@pytest.mark.parametrize(
    ("given", "layouts"),
    [("both", {"classic", "ai"}), ("classic", {"classic"}), (["ai"], {"ai"}), ((), set())],
)
def test_layouts_come_as_a_word_or_a_list(given, layouts):
    assert HubSettings(layouts=given).layouts == layouts


def test_the_key_is_not_shown():
    settings = HubSettings(key="sesame")
    assert "sesame" not in repr(settings)
    assert "key" not in settings.as_dict()


def test_each_hub_has_a_catalogue_of_its_own():
    one, other = HubSettings(), HubSettings()
    one.catalogue[0]["id"] = "changed"
    assert other.catalogue[0]["id"] != "changed"
