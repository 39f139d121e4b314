import importlib
import json

import pytest

import fresh


@pytest.fixture
def in_process(monkeypatch):
    """Calls that a benchmark makes in processes of their own are made in this one, through JSON as there."""

    def call(module, function, *, timeout=None, mapped=False, **arguments):
        result = getattr(importlib.import_module(module), function)(**json.loads(json.dumps(arguments)))
        return json.loads(json.dumps(result))

    monkeypatch.setattr(fresh, "call", call)
    monkeypatch.setattr(fresh, "limit_memory", lambda size: None)
