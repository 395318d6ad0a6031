"""The agent card: computed once at start, and signed when there is a key."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import msgspec

from agent.card_dialects import Facts, card_0_3, card_1_0, card_hybrid
from agent.card_document import read_card_document, read_extended_document
from agent.card_security import knows_callers
from agent.card_truth import input_modes, truthful
from agent.errors import ExtendedCardNotConfigured, SettingsError, UnsupportedOperation
from agent.signing import signing_key

if TYPE_CHECKING:
    from agent.card_dialects import Features
    from agent.card_document import CardDocument
    from agent.settings import Settings
    from agent.signing import SigningKey

_log = logging.getLogger(__name__)
_DIALECTS = {"hybrid": card_hybrid, "1.0": card_1_0, "0.3": card_0_3}

KEY_SET = "/.well-known/jwks.json"
"""Where the public key is that the card is signed with."""


class Body(msgspec.Struct, frozen=True):
    """Something to serve: JSON, and a strong entity tag with its quotes."""

    content: bytes
    etag: str


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The card in all its ways: the keys of ``bodies`` are ``hybrid``, ``1.0`` and ``0.3``."""

    name: str
    bodies: dict[str, Body]
    default: str
    max_age: int
    last_modified: datetime
    input_modes: tuple[str, ...]
    key_set: Body | None = None
    extended_bodies: dict[str, Body] = {}

    def body(self, wanted: str | None) -> Body | None:
        """Choose by ``?version=``, whose patch number does not count; None when there is none."""
        if wanted is None:
            return self.bodies[self.default]
        return self.bodies.get(".".join(wanted.split(".")[:2]))

    def extended(self, version: str) -> bytes:
        """Return the extended card for a dialect's version; raises what that has for "there is none"."""
        version = version.partition(" ")[0]  # "0.3 proto" is 0.3 too
        body = self.extended_bodies.get(version)
        if body is not None:
            return body.content
        # The card of neither version declares it: 1.0 section 3.1.11, 0.3 section 8.2.
        raise ExtendedCardNotConfigured if version == "0.3" else UnsupportedOperation


def load_card(settings: Settings, features: Features, started: datetime) -> Card:
    """Read the card's documents and write the card; raises ``SettingsError``.

    What a document says wrongly is overruled and logged. ``started`` becomes Last-Modified, since
    a new start may come with other settings; all processes of a server should give the same.
    """
    document = read_card_document(settings.customization)
    key = signing_key(settings)
    writer = _Writer(settings, features, key)
    return Card(
        name=document.name,
        bodies=writer.bodies(document),
        default=settings.a2a.card_version,
        max_age=settings.a2a.card_max_age_seconds,
        last_modified=started.astimezone(UTC).replace(microsecond=0),
        input_modes=input_modes(writer.true(document)),
        key_set=None if key is None else _body(key.jwks),
        extended_bodies=_extended(settings, document, writer),
    )


def _extended(settings: Settings, public: CardDocument, writer: _Writer) -> dict[str, Body]:
    path = settings.a2a.extended_card_path
    if path is None:
        return {}
    bodies = writer.bodies(read_extended_document(path, public))
    if knows_callers(settings.authentication):
        return bodies
    # It is for authenticated callers only (1.0 section 13.3).
    module = settings.authentication.module
    _log.warning("Nobody gets the extended agent card: authentication.module is %s", module)
    return {}


class _Writer:
    """Writes documents as cards of this server."""

    def __init__(self, settings: Settings, features: Features, key: SigningKey | None) -> None:
        self._features = features
        self._base_url = settings.service.public_url
        self._tenants = settings.a2a.tenants
        self._key = key
        self._told: set[str] = set()

    def true(self, written: CardDocument) -> CardDocument:
        """Return the document without what is not so; the log is told once."""
        document, overruled = truthful(written, self._features, f"{self._base_url}/a2a")
        if told := [name for name in overruled if name not in self._told]:
            _log.warning("The agent card says what is not so; left out: %s", ", ".join(told))
            self._told.update(told)
        return document

    def bodies(self, written: CardDocument) -> dict[str, Body]:
        """Return the document's card in every dialect; raises ``SettingsError``."""
        document = self.true(written)
        facts = Facts(
            document=document,
            features=self._features,
            version=document.version or own_version(),
            base_url=self._base_url,
            tenants=self._tenants,
        )
        return {name: self._body(write(facts)) for name, write in _DIALECTS.items()}

    def _body(self, card: dict[str, object]) -> Body:
        if self._key is None:
            return _body(msgspec.json.encode(card))
        from agent.card_signing import signed  # imports a2a-sdk, which takes its time

        try:
            card = signed(card, self._key, f"{self._base_url}{KEY_SET}")
        except ValueError as exc:
            raise SettingsError("a2a.signing_key", "the agent card has no canonical form") from exc
        return _body(msgspec.json.encode(card))


def _body(content: bytes) -> Body:
    return Body(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def own_version() -> str:
    """Return the version of this server."""
    try:
        return version("llamastack-a2a")
    except PackageNotFoundError:  # a source tree that is not installed
        return "0.0.0"
