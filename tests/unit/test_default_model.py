"""Which model answers where none is named, and who may choose another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

import pytest

from agent.caller import Caller
from agent.default_model import check_override, default_model
from agent.errors import PermissionDenied, TurnFailed
from agent.settings import Settings
from agent.stacks import BaseStack, Model, TurnCompleted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from agent.stacks import TurnEvent, TurnRequest

pytestmark = pytest.mark.anyio

REMOTE: dict[str, Any] = {"llama_stack": {"url": "http://stack.test"}}
ANN = Caller("ann")


class Catalogue(BaseStack):
    """Has a model of a shield, and two that answer."""

    def __init__(self, settings: Settings, *, has_shields: bool = True) -> None:
        """Without shields it is a server that cannot tell of any."""
        super().__init__(settings)
        self._has_shields = has_shields

    @override
    async def models(self) -> Sequence[Model]:
        """Return the guard first."""
        names = (("p/guard", "llm"), ("p/embedding", "embedding"), ("p/a", "llm"), ("p/b", "llm"))
        return [Model(name, "p", kind) for name, kind in names]

    @override
    async def shields(self) -> Sequence[Any]:
        """Return the shield."""
        if not self._has_shields:
            raise TurnFailed
        return [{"identifier": "s", "provider_resource_id": "p/guard"}]

    @override
    async def turn(self, request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        """Say nothing."""
        yield TurnCompleted("end_of_turn")


def settings(**sections: Any) -> Settings:
    """Return the settings of a server in front of a Llama Stack."""
    return Settings.model_validate(REMOTE | sections)


async def test_the_first_model_answers_that_is_no_shields() -> None:
    stack = Catalogue(settings())
    assert await default_model(settings(), stack) == "p/a"
    await check_override(ANN, ["p/a", "a"], settings(), stack)
    for other in ("p/b", "p/guard", "none"):
        with pytest.raises(PermissionDenied):
            await check_override(ANN, ["a", other], settings(), stack)
    assert await default_model(settings(), Catalogue(settings(), has_shields=False)) == "p/guard"
    may = Caller("bob", actions=frozenset({"model_override"}))
    await check_override(may, ["p/b"], settings(), stack)


async def test_the_model_of_the_settings_answers_where_they_name_one() -> None:
    chosen = settings(inference={"default_model": "b", "default_provider": "p"})
    stack = Catalogue(chosen)
    assert await default_model(chosen, stack) == "p/b"
    await check_override(ANN, ["p/b", "b"], chosen, stack)
    with pytest.raises(PermissionDenied):
        await check_override(ANN, ["a"], chosen, stack)
