import importlib
import json

import pytest

import fresh
import problems
import revgn_lab.data


@pytest.fixture
def in_process(monkeypatch):
    """Calls that a benchmark makes in processes of their own are made in this one, through JSON as there."""

    def call(module, function, *, timeout=None, mapped=False, **arguments):
        result = getattr(importlib.import_module(module), function)(**json.loads(json.dumps(arguments)))
        return json.loads(json.dumps(result))

    monkeypatch.setattr(fresh, "call", call)
    monkeypatch.setattr(fresh, "limit_memory", lambda size: None)


@pytest.fixture
def without_fashion_mnist(monkeypatch):
    """As on a machine that has neither the files nor a network: benchmarks take digits instead."""
    load = revgn_lab.data.load

    def refuse(name, **options):
        if name == "fashion-mnist":
            raise revgn_lab.data.DataError("no files, no network")
        return load(name, **options)

    monkeypatch.setattr(revgn_lab.data, "load", refuse)
    problems.images.cache_clear()
    yield
    problems.images.cache_clear()
