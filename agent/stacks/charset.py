"""The charset that a caller names for a text."""

from __future__ import annotations

import codecs

# Python's codecs for host names and source code: no charsets, and punycode takes quadratic time.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})


def decode(data: bytes, charset: str) -> str:
    """Decode text; raises ``LookupError`` or ``UnicodeError``."""
    if codecs.lookup(charset).name.replace("_", "-") in _NO_CHARSETS:
        raise LookupError(charset)
    return data.decode(charset)
