"""What the HTTP protocol takes for granted of uvicorn's, which is private there."""

from __future__ import annotations

import inspect

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agent.cli.bounded_http import BoundedHttp

OVERRIDDEN = [
    name for name, value in vars(BoundedHttp).items() if getattr(value, "__override__", False)
]


def test_methods_are_overridden() -> None:
    assert len(OVERRIDDEN) > 5


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_what_is_overridden_is_there_and_takes_the_same(name: str) -> None:
    """A method that uvicorn calls no more would bound nothing, and nobody would notice."""
    theirs = inspect.signature(getattr(HttpToolsProtocol, name))
    ours = inspect.signature(getattr(BoundedHttp, name))

    assert list(ours.parameters) == list(theirs.parameters)
