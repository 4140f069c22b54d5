"""Result URLs: signed, and good for a while."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import quote, urlencode

__all__ = ["Links"]


class Links:
    """Makes and judges the URLs of one hub, with a secret that only this hub has."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def make(self, origin: str, namespace: str, id: str, expires: float) -> str:
        """Return a URL that works until ``expires`` (unix seconds).

        The name is ``image.png`` whatever the format, as the hub's own: only the bytes tell.
        """
        path = f"/api/repos/{quote(namespace, safe='')}/generated/files/{id}/image.png"
        query = {"expires": int(expires), "signature": self._sign(namespace, id, str(int(expires)))}
        return f"{origin}{path}?{urlencode(query)}"

    def problem(self, namespace: str, id: str, query: Mapping[str, str], now: float) -> str | None:
        """Return why a URL does not work, or None."""
        expires = query.get("expires", "")
        signature = self._sign(namespace, id, expires)
        if not hmac.compare_digest(signature.encode(), query.get("signature", "").encode()):
            return "The URL's signature is missing or wrong."
        return "The URL has expired." if now >= int(expires) else None

    def _sign(self, *parts: str) -> str:
        return hmac.new(self._secret, "\n".join(parts).encode(), hashlib.sha256).hexdigest()
