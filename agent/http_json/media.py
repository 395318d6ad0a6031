"""Which of its two media types JSON goes out as."""

from __future__ import annotations

A2A_JSON = "application/a2a+json"
JSON = "application/json"
_BOTH = (A2A_JSON, JSON)


def media_type(accept: str, content_type: str) -> str:
    """Return what Accept asks for, else the type of the request's body, else ``application/json``.

    Ranges such as ``*/*`` ask for neither. What asks for something else altogether gets JSON too: an
    answer is better than none.
    """
    asked = _quality(accept) if accept and accept != "*/*" else {}
    given = content_type.partition(";")[0].strip().lower()
    preferred = given if given in _BOTH else JSON
    if not asked:
        return preferred
    # Of those that are asked for alike, the type of the request wins.
    return max(asked, key=lambda name: (asked[name], name == preferred))


def _quality(accept: str) -> dict[str, float]:
    """Return the types of ours that are named, with their weight; 0 refuses one."""
    found: dict[str, float] = {}
    for one in accept.split(","):
        name, *parameters = (part.strip().lower() for part in one.split(";"))
        if name in _BOTH:
            weights = (p.removeprefix("q=") for p in parameters if p.startswith("q="))
            found[name] = _weight(next(weights, "1"))
    return {name: weight for name, weight in found.items() if weight > 0}


def _weight(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 1.0
