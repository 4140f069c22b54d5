"""A request made ready to be sent: checked against its model, its seed settled, its price told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_oxen.api import calls
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import OxenError, OxenModelNotFound, OxenRouteNotFound
from airflow_provider_oxen.api.models import GenerateRequest, Model
from airflow_provider_oxen.hooks.model_check import ask_for_model, report
from airflow_provider_oxen.jobs import request as requests
from airflow_provider_oxen.jobs.price import price
from airflow_provider_oxen.jobs.steps import Prepared
from airflow_provider_oxen.jobs.task import Task

__all__ = ["Preparing"]


@dataclass
class Preparing:
    """What a model's catalogue entry says of requests; each model is asked for once.

    :param validate: ``error``, ``warn`` or ``off``.
    :param priced: whether the price must be told.
    :param guessed: whether it is told where that can be found out.
    :param target_repo: where the hub saves the result too.
    """

    client: Client
    validate: str
    priced: bool
    target_repo: str | None
    guessed: bool = False
    _models: dict[str, Model | None] = field(default_factory=dict, init=False)
    _priced: dict[str, Model] = field(default_factory=dict, init=False)

    def model(self, name: str) -> Model | None:
        """Return the model's entry, or None where it is not wanted or cannot be had.

        :raises OxenError: where the hub does not know it, or cannot be asked.
        """
        if self.validate == "off" and not self.priced:
            return None
        if name not in self._models:
            asked = ask_for_model(self.client, name, "error" if self.validate == "off" else self.validate)
            self._models[name] = asked
        return self._models[name]

    def check(self, model: Model | None, request: GenerateRequest) -> None:
        """Hold a request against its model, as ``validate`` says.

        :raises OxenInvalidRequest: naming every parameter, rule and value.
        """
        if model and self.validate != "off":
            report(model, request.parameters(), self.validate)

    def price(self, model: Model | None, parameters: Mapping[str, Any]) -> float | None:
        """Return the USD that one submission costs by the catalogue, None where that is not known."""
        if model and model.pricing is None and (self.priced or self.guessed):
            if model.id not in self._priced:
                self._priced[model.id] = self._ask_for_price(model)
            model = self._priced[model.id]
        return price(model, parameters) if model else None

    def _ask_for_price(self, model: Model) -> Model:
        try:
            return self.client.send(calls.get_priced_model(model.id))
        except (OxenRouteNotFound, OxenModelNotFound):
            return model
        except OxenError:
            if self.priced:
                raise
            return model

    def prepare(self, task: Task, asked: GenerateRequest, log: Any, *, checked: bool = False) -> Prepared:
        """Return the exact body to send, checked, and its price.

        :param asked: the request as the user made it.
        :param log: told of the seed.
        :param checked: whether it was held against its model before.
        """
        asked = asked.model_copy(update={"target_namespace": task.namespace})
        model = self.model(asked.model)
        schema = model.request_schema if model else None
        settled = requests.settle(asked, schema, task.identity, fresh=task.has_home)
        if not checked:
            self.check(model, settled.request)
        body = settled.request.body()
        if settled.seed_is_ours:
            log.info(
                "No seed was given: %s was chosen, to make the image reproducible.", settled.request.seed
            )
        if self.target_repo:
            # The nonce tells this job from earlier ones; without a record nobody would know it again.
            directory = f"airflow/{task.identity}" + (f"/{task.nonce[:16]}" if task.has_home else "")
            body |= {"target_repo": self.target_repo, "target_directory": directory}
        cost = self.price(model, settled.request.parameters())
        return Prepared(body, cost, time.time(), settled.seed_is_ours)
