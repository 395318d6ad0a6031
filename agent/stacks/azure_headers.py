"""Shows the token of Entra ID to a Llama Stack, with each request that an Azure model answers."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import msgspec

from agent.errors import InvalidAgentResponse, StackUnavailable
from agent.stacks.azure import AzureTokens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import httpx

    from agent.settings import Settings

PROVIDER_DATA = "X-LlamaStack-Provider-Data"
AZURE = "remote::azure"
REMEMBERED_SECONDS = 300.0
_TURNS = ("/turn", "/resume")
"""How paths end where an agent's model answers: the request does not name it."""


class _Body(msgspec.Struct):
    """What is read of the body of a request."""

    model: str | None = None


class _Config(msgspec.Struct):
    """Where the provider's models are; 0.7 has a new word for it."""

    base_url: str | None = None
    api_base: str | None = None


class _Provider(msgspec.Struct):
    """What is read of a provider."""

    provider_id: str
    provider_type: str = ""
    config: msgspec.Raw = msgspec.Raw(b"{}")


class _Providers(msgspec.Struct):
    """The answer to ``GET /v1/providers``."""

    data: list[_Provider]


def azure_headers(
    settings: Settings, ask: Callable[[str], Awaitable[httpx.Response]]
) -> list[AzureHeaders]:
    """Return the hook, if the settings have credentials; ``ask`` gets a path of the Llama Stack."""
    if settings.azure_entra_id is None:
        return []
    tokens = AzureTokens(settings.azure_entra_id)
    return [AzureHeaders(tokens, ask, settings.inference.default_provider)]


class AzureHeaders:
    """A hook of the client. What it raises comes out of the client as the cause of its error."""

    def __init__(
        self,
        tokens: AzureTokens,
        ask: Callable[[str], Awaitable[httpx.Response]],
        default_provider: str | None,
    ) -> None:
        """Nothing is asked yet."""
        self._tokens = tokens
        self._ask = ask
        self._default = default_provider
        self._bases: dict[str, str] = {}
        self._asked_at = float("-inf")

    async def __call__(self, request: httpx.Request) -> None:
        """Add the token where the provider of the model is Azure's, or may be."""
        turns = request.url.path.endswith(_TURNS)
        model = None if turns else _model_of(request)
        if model is None and not turns:
            return
        bases = await self._azure()
        named = model.partition("/")[0] if model and "/" in model else None
        if not bases or (named is not None and named not in bases):
            return
        provider = named or self._default
        base = bases.get(provider or "") or next(iter(bases.values()))
        try:
            token = await self._tokens.token()
        except StackUnavailable:
            if provider is not None and provider not in bases:
                return  # the model is another's as far as is known
            raise
        _add(request, {"azure_api_key": token} | ({"azure_api_base": base} if base else {}))

    async def _azure(self) -> Mapping[str, str]:
        """Return where Azure's providers have their models, by provider."""
        now = time.monotonic()
        if now - self._asked_at >= REMEMBERED_SECONDS:
            self._bases = _bases_of(await self._ask("/v1/providers"))
            self._asked_at = now
        return self._bases


def _bases_of(answer: httpx.Response) -> dict[str, str]:
    if not answer.is_success:
        raise StackUnavailable
    try:
        listed = msgspec.json.decode(answer.content, type=_Providers).data
        found = [each for each in listed if each.provider_type == AZURE]
        configs = [msgspec.json.decode(each.config, type=_Config) for each in found]
    except msgspec.MsgspecError as exc:
        raise InvalidAgentResponse from exc
    return {
        each.provider_id: config.base_url or config.api_base or ""
        for each, config in zip(found, configs, strict=True)
    }


def _model_of(request: httpx.Request) -> str | None:
    if request.method != "POST" or request.headers.get("content-type") != "application/json":
        return None
    try:
        return msgspec.json.decode(request.content, type=_Body).model
    except msgspec.MsgspecError:
        return None


def _add(request: httpx.Request, data: Mapping[str, str]) -> None:
    """Put it beside what is for other providers."""
    shown = json.loads(request.headers.get(PROVIDER_DATA) or "{}")
    request.headers[PROVIDER_DATA] = json.dumps(shown | data)
