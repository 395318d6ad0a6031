"""A2A 1.0, sections 4.3, 4.4, 8, 13 and 14: the card, webhooks and security."""

from __future__ import annotations

from tests.conformance._requirements.row import CARD, HTTP_JSON, SERVER, WEBHOOK
from tests.conformance._requirements.row import Requirement as Row

_CARD, _WEBHOOK, _SERVER = (CARD,), (WEBHOOK,), (SERVER,)

ROWS = (
    Row("1.0/card", "1.0 §8.1, §8.2, §14.3", "The card MUST be at the well-known URI", _CARD),
    Row("1.0/card-fields", "proto AgentCard", "All REQUIRED fields MUST be there", _CARD),
    Row("1.0/card-skills", "proto AgentSkill", "A skill has id, name, description and tags", _CARD),
    Row(
        "1.0/card-interfaces", "1.0 §5.2, §8.3.1", "Each interface MUST be as it is declared", _CARD
    ),
    Row("1.0/card-all", "1.0 §5.2, §8.3.1", "All supported protocols MUST be declared", _CARD),
    Row("1.0/card-capabilities", "1.0 §3.3.4", "Capabilities are declared as they are", _CARD),
    Row("1.0/card-presence", "1.0 §5.7", "What is not set is left out: no null, no default", _CARD),
    Row("1.0/card-security", "1.0 §7.4", "Requests are authenticated as the card declares", _CARD),
    Row("1.0/card-no-secrets", "1.0 §14.3", "The card SHOULD NOT hold credentials", _CARD),
    Row("1.0/card-cache-control", "1.0 §8.6.1", "Cache-Control SHOULD name a max-age", _CARD),
    Row("1.0/card-etag", "1.0 §8.6.1", "An ETag SHOULD name the card's content", _CARD),
    Row("1.0/card-last-modified", "1.0 §8.6.1", "Last-Modified MAY be there", _CARD),
    Row(
        "1.0/card-canonical", "1.0 §8.4.1", "What is signed MUST be the JCS form of the card", _CARD
    ),
    Row("1.0/card-signature", "1.0 §8.4.2", "A signature is JWS: protected and signature", _CARD),
    Row(
        "1.0/card-signature-head", "1.0 §8.4.2", "Its header MUST have alg and kid, typ JOSE", _CARD
    ),
    Row("1.0/card-signature-keys", "1.0 §8.4.2", "jku leads to the public key", _CARD),
    Row("1.0/push-payload", "1.0 §4.3.3", "A webhook gets exactly one StreamResponse", _WEBHOOK),
    Row("1.0/push-media-type", "1.0 §4.3.3", "Its type is application/a2a+json", _WEBHOOK),
    Row("1.0/push-credentials", "1.0 §4.3.3, §13.2", "Credentials MUST be sent", _WEBHOOK),
    Row("1.0/push-delivered", "1.0 §4.3.3", "Each webhook MUST be tried at least once", _WEBHOOK),
    Row("1.0/push-every-webhook", "1.0 §4.3.3", "Every configuration gets every update", _WEBHOOK),
    Row("1.0/push-deleted", "1.0 §3.1.10", "After deletion nothing is sent any more", _WEBHOOK),
    Row("1.0/push-at-once", "1.0 §3.2.2", "returnImmediately does not matter to it", _WEBHOOK),
    Row("1.0/push-retry", "1.0 §13.2", "Failed deliveries SHOULD be tried again", _WEBHOOK),
    Row(
        "1.0/push-ssrf", "1.0 §13.2", "Private, loopback and link-local SHOULD be refused", _WEBHOOK
    ),
    Row("1.0/push-allowed", "1.0 §13.2", "Allow-lists SHOULD be there where they fit", _WEBHOOK),
    Row(
        "1.0/authentication",
        "1.0 §3.3.2, §7.4",
        "Missing or invalid credentials MUST be refused, whatever is asked",
    ),
    Row("1.0/challenge", "1.0 §7.4", "A refusal SHOULD say which credentials are wanted"),
    Row(
        "1.0/authorize-every-operation",
        "1.0 §3.3.2, §7.5, §13.1",
        "Every operation MUST check what the caller may do",
    ),
    Row(
        "1.0/authorize-first",
        "1.0 §13.1",
        "Checks MUST come before anything that could tell what there is",
    ),
    Row(
        "1.0/extended-card-authentication",
        "1.0 §13.3",
        "The extended card MUST be for authenticated callers only",
    ),
    Row(
        "1.0/extended-card-cache",
        "1.0 §13.3",
        "What clients keep of the extended card SHOULD be said",
        (HTTP_JSON,),
    ),
    Row(
        "1.0/authentication-failures",
        "1.0 §13.4",
        "Failed authentication SHOULD be logged and rate-limited",
        _SERVER,
    ),
    Row("1.0/audit", "1.0 §13.4", "There SHOULD be an audit trail", _SERVER),
    Row(
        "1.0/deletion",
        "1.0 §13.4",
        "Callers SHOULD be able to have their data deleted",
        (HTTP_JSON,),
    ),
    Row("1.0/retention", "1.0 §13.4", "What is kept SHOULD be kept for a time", _SERVER),
    Row("1.0/scope-every-operation", "1.0 §13.1", "Every operation MUST check whose it is"),
    Row("1.0/scope-list", "1.0 §13.1", "Lists MUST be scoped whatever the filter"),
    Row("1.0/limits", "1.0 §13.4", "Sizes and complexity of messages SHOULD be limited"),
    Row("1.0/rate-limit", "1.0 §13.4", "An exceeded limit SHOULD be an appropriate error"),
    Row("1.0/media-types", "1.0 §13.4", "Unexpected media types SHOULD be rejected"),
    Row("1.0/utf-8", "1.0 §14.1", "JSON MUST be UTF-8", _SERVER),
    Row("1.0/logs", "1.0 §13.4", "Logs MUST NOT hold credentials", _SERVER),
    Row("1.0/hsts", "1.0 §13.4", "Strict-Transport-Security SHOULD be enforced", _SERVER),
    Row("1.0/https", "1.0 §7.1", "HTTPS MUST be spoken, in modern versions of TLS", _SERVER),
)
