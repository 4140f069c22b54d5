"""Prepare a request for sending: check it against its model, set its seed, find its price."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_oxen.api.blocking import unsuspended
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.models import GenerateRequest, Model, parameters
from airflow_provider_oxen.catalogue.check import report
from airflow_provider_oxen.catalogue.price import price
from airflow_provider_oxen.catalogue.readiness import find_model, find_price
from airflow_provider_oxen.jobs import request as requests
from airflow_provider_oxen.jobs.effects import Prepared, Remade
from airflow_provider_oxen.jobs.task import Task

__all__ = ["RequestBuilder"]


@dataclass
class RequestBuilder:
    """Makes the body of a request from its model's catalogue entry; each model is requested once.

    :param validate: ``error``, ``warn`` or ``off``.
    :param priced: whether the price must be known.
    :param guessed: whether to find out the price if possible.
    :param target_repo: repository where the hub also saves the result.
    """

    client: Client
    validate: str
    priced: bool
    target_repo: str | None
    guessed: bool = False
    _models: dict[str, Model | None] = field(default_factory=dict, init=False)
    _priced: dict[str, Model] = field(default_factory=dict, init=False)

    def model(self, name: str) -> Model | None:
        """Return the model's entry, or None if it is not needed or cannot be read.

        :raises OxenError: if the hub does not know the model, or cannot be asked; and if there is no key, so
            that nothing could be requested afterwards.
        """
        self.client.settings.need_key()
        if self.validate == "off" and not self.priced:
            return None
        if name not in self._models:
            strict = "error" if self.validate == "off" else self.validate
            self._models[name] = unsuspended(find_model(self.client, name, strict))
        return self._models[name]

    def knows(self, name: str) -> bool:
        """Return whether a model's entry, and its price, are known without a request."""
        model = self._models.get(name)
        known = model is not None or (self.validate == "off" and not self.priced)
        return known and (model is None or model.pricing is not None or model.id in self._priced)

    def price(self, model: Model | None, body: Mapping[str, Any]) -> float | None:
        """Return the USD that one submission costs by the catalogue, None if that is not known."""
        if model and model.pricing is None and (self.priced or self.guessed):
            if model.id not in self._priced:
                self._priced[model.id] = unsuspended(find_price(self.client, model, needed=self.priced))
            model = self._priced[model.id]
        return price(model, body) if model else None

    def prepare(
        self, task: Task, asked: GenerateRequest, log: Any, counter: int, *, checked: bool = False
    ) -> Prepared:
        """Return the exact body to send, checked against its model as ``validate`` says, and its price.

        :raises OxenInvalidRequest: naming every parameter, rule and value that contradicts the model.
        """
        model = self.model(asked.model)
        body, unique = self.remake(task, asked, counter)
        if model and not checked and self.validate != "off":
            report(model, parameters(body), self.validate)
        if unique:
            log.info("No seed was given: %s was chosen, to make the image reproducible.", body["seed"])
        return Prepared(body, self.price(model, body), time.time(), unique)

    def remake(self, task: Task, asked: GenerateRequest, counter: int) -> Remade:
        """Return only the exact body, to compare it with what an earlier try has sent.

        :raises OxenError: if the model cannot be read.
        """
        model = self.model(asked.model)
        job = f"{task.place or task.identity}/{task.fingerprint}/{counter}"
        body = requests.settle(asked, model.request_schema if model else None, job)
        if task.namespace:
            body["target_namespace"] = task.namespace
        if self.target_repo:
            # A different directory for each job, and one that can be derived again if the record is gone.
            directory = f"airflow/{task.identity}"
            if task.has_store:
                directory += f"/{hashlib.sha256(job.encode()).hexdigest()[:16]}"
            body |= {"target_repo": self.target_repo, "target_directory": directory}
        return Remade(body, asked.seed is None and "seed" in body)
