"""The URL of a PostgreSQL database, which may contain a password."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode

SCHEMES = ("postgresql", "postgres")
_SECRET_PARAMETERS = ("password", "sslpassword", "oauth_client_secret")


def is_database_url(text: str) -> bool:
    """Return whether a text has the form of the URL of a PostgreSQL database."""
    return _parse(text) is not None


def passwords_of(url: str) -> list[str]:
    """Return the passwords in a URL, as they are written in it and as they are meant."""
    parts = _parse(url)
    return [] if parts is None else list(dict.fromkeys((*parts.passwords, *map(unquote, parts.passwords))))


def without_password(url: str) -> str:
    """Return a URL without its passwords, for people to read. A text that has another form is not repeated at all."""
    parts = _parse(url)
    return "(not the URL of a PostgreSQL database)" if parts is None else parts.shown


@dataclass(frozen=True)
class _Parts:
    passwords: tuple[str, ...]
    shown: str


def _parse(url: str) -> _Parts | None:
    """Split a URL as libpq does: a user ends at the first @ if no slash comes before it."""
    found = re.fullmatch(
        rf"({'|'.join(SCHEMES)})://(?:([^@/:]*)(?::([^@/]*))?@)?([^?@]*)(?:\?(.*))?", url, flags=re.DOTALL
    )
    if found is None or re.search(r"[\x00-\x20\x7f]", url):
        return None
    scheme, user, password, place, query = found.groups()
    parameters = parse_qsl(query or "", keep_blank_values=True)
    secrets = [value for name, value in parameters if name in _SECRET_PARAMETERS]
    kept = [(name, value) for name, value in parameters if name not in _SECRET_PARAMETERS]
    shown = f"{scheme}://{'' if user is None else user + '@'}{place}"
    if kept:
        shown += f"?{urlencode(kept, safe='/,:', quote_via=quote)}"
    return _Parts(tuple(text for text in (password or "", *secrets) if text), shown)
