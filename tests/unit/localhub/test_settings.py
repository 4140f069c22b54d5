from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from airflow_provider_oxen.localhub import HubSettings


def test_unknown_setting_is_an_error_and_not_a_test_that_passes_for_nothing():
    with pytest.raises(ValueError, match="rate: Extra inputs are not permitted"):
        HubSettings().rate = 3
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        HubSettings(rate=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("key", "", r"key: String should have at least 1 character \(given: ''\)"),
        ("latency", -1, r"latency: Input should be greater than or equal to 0 \(given: -1\)"),
        ("latency", "1", r"latency: Input should be a valid number \(given: '1'\)"),
        ("credits", True, "credits: Input should be a valid number"),
        ("at_once", 0, "at_once: Input should be greater than or equal to 1"),
        ("workers", -1, "workers: Input should be greater than or equal to 0"),
        ("rate_limit", 1.5, "rate_limit: Input should be a valid integer"),
        ("detail_delay", None, "detail_delay: Input should be a valid number"),
        ("ready_made", 1, "ready_made: Input should be a valid boolean"),
        ("ready_made_bytes", None, "ready_made_bytes: Input should be a valid integer"),
        ("answer", "data", r"answer: Input should be 'images' or 'image_url' \(given: 'data'\)"),
        ("layouts", "new", "layouts.*: Input should be 'classic' or 'ai'"),
        ("layouts", ["ai", "new"], "layouts.*: Input should be 'classic' or 'ai'"),
        ("layouts", 5, "layouts: Input should be a valid frozenset"),
        ("namespaces", "acme", "namespaces: Input should be a valid tuple"),
        ("namespaces", [], "namespaces: Tuple should have at least 1 item"),
        ("namespaces", [""], "namespaces.0: String should have at least 1 character"),
        ("default_size", 512, "default_size: Input should be a valid tuple"),
        ("default_size", (1, 2, 3), "default_size: Tuple should have at most 2 items"),
        ("user", "me", "user: Input should be a valid dictionary"),
        ("catalogue", [{"name": "x"}], "catalogue: .* must be a list of models, each with an id"),
    ],
)
def test_wrong_value_is_refused_by_name(name, value, message):
    settings = HubSettings()
    with pytest.raises(ValueError, match=message):
        setattr(settings, name, value)
    assert settings == HubSettings()


def test_update_sets_all_or_nothing():
    settings = HubSettings()
    with pytest.raises(ValueError, match="credits"):
        settings.update({"latency": 3, "credits": "much"})
    with pytest.raises(ValueError, match="speed"):
        settings.update({"latency": 3, "speed": 1})
    assert settings.latency == 0

    settings.update({"latency": 3, "layouts": ["ai"], "namespaces": ["acme"], "rate_limit": None})
    assert (settings.latency, settings.layouts, settings.namespaces) == (3.0, frozenset({"ai"}), ("acme",))


def test_setting_one_does_not_undo_what_is_set_meanwhile():
    """The hub's thread takes credits at any time, and so while a setting is read."""
    settings = HubSettings()

    class Slow(list[str]):
        def __iter__(self) -> Iterator[str]:
            settings.credits = 5
            return super().__iter__()

    settings.layouts = Slow(["ai"])  # type: ignore[assignment]
    assert settings.layouts == frozenset({"ai"})
    assert settings.credits == 5


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


def test_each_hub_has_a_user_and_a_catalogue_of_its_own_and_one_that_is_given_is_used_as_it_is():
    one, other = HubSettings(), HubSettings()
    one.catalogue[0]["id"] = "changed"
    assert other.catalogue[0]["id"] != "changed"
    one.user["name"] = "changed"
    assert other.user["name"] == "local-user"
    mine = [{"id": "mine"}]
    one.catalogue = mine
    assert one.catalogue is mine
    assert HubSettings(catalogue=mine).catalogue is mine
