"""Verifies access tokens (JWT, HS256) and issues them for development (contract §6).

Called by the edge once per request; a verified token is kept until it expires, so that a signed-in read does not pay for the
signature again. Never logs a token or a part of one.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alyx.base import clock
from alyx.base.errors import AlyxError
from alyx.base.identity import ANONYMOUS, Identity

ALGORITHM = "HS256"
_REQUIRED = ["exp", "iat", "iss", "sub"]
_KEPT = 10_000
_LATEST = 2**53
"""Seconds since 1970 beyond which a time is none; also refuses NaN, infinities and integers that no float can hold."""
_LONGEST = 8_192
"""Bytes of a token that are looked at; ours have about 400."""


@dataclass(frozen=True, slots=True)
class Settings:
    """alyx.yaml `auth.jwt`. secret: at least 32 bytes. access_ttl: seconds. audience: checked if set."""

    secret: str
    issuer: str = "alyx"
    audience: str | None = None
    access_ttl: float = 900.0


class Verifier:
    """Turns an Authorization header into an identity."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: dict[bytes, tuple[float, Identity]] = {}

    def identify(self, authorization: str | None) -> Identity:
        """Who sends this header; ANONYMOUS without one.

        Raises AlyxError UNAUTHORIZED for anything but a valid Bearer token, TOKEN_EXPIRED for one that was valid once: an invalid
        token is never an anonymous caller (contract §3).
        """
        return ANONYMOUS if authorization is None else self.credentials(authorization)[0]

    def credentials(self, authorization: str | None) -> tuple[Identity, float | None]:
        """As `identify`, with the moment at which the token ends in seconds since 1970; None for an anonymous caller."""
        if authorization is None:
            return ANONYMOUS, None
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorized()
        return self.authenticate(token.strip())

    def authenticate(self, token: str) -> tuple[Identity, float | None]:
        """Whose token this is, and when it ends, in seconds since 1970.

        Raises AlyxError UNAUTHORIZED for one that is not valid, TOKEN_EXPIRED for one that was valid once.
        """
        if not token or len(token) > _LONGEST or not token.isascii():
            raise _unauthorized()
        digest = hashlib.sha256(token.encode()).digest()
        kept = self._kept.get(digest)
        if kept is not None and kept[0] > clock.seconds():
            return kept[1], kept[0]
        claims = self._verify(token)
        identity = _identity(claims)
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        expires = float(claims["exp"])
        self._kept[digest] = (expires, identity)
        return identity, expires

    def _verify(self, token: str) -> Mapping[str, Any]:
        import jwt  # only signed-in requests pay for the import

        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._settings.secret,
                algorithms=[ALGORITHM],
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                options={
                    "require": [*_REQUIRED, "aud"] if self._settings.audience else _REQUIRED,
                    "verify_aud": self._settings.audience is not None,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidTokenError:
            raise _unauthorized() from None
        self._check_times(claims)
        if claims.get("typ") != "access" or not isinstance(claims["sub"], str) or not claims["sub"]:
            raise _unauthorized()
        return claims

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        """Times are judged here and not by the library, so that they come from `base.clock` like every other time."""
        now = clock.seconds()
        for name in ("exp", "iat", "nbf"):
            moment = claims.get(name, now)
            if isinstance(moment, bool) or not isinstance(moment, int | float) or not abs(moment) < _LATEST:
                raise _unauthorized()
            if name == "exp" and moment <= now:
                raise AlyxError("TOKEN_EXPIRED", "The access token has expired.", hint="Sign in again or refresh it.")
            if name != "exp" and moment > now + 60:
                raise _unauthorized()


def issue(settings: Settings, user_id: str, *, role: str = "user", email: str | None = None, verified: bool = False,
          claims: Mapping[str, Any] | None = None, ttl: float | None = None) -> str:  # fmt: skip
    """An access token with the claims of contract §6; ttl in seconds. For development until accounts exist."""
    import jwt

    now = int(clock.seconds())
    payload: dict[str, Any] = {
        "iss": settings.issuer,
        "sub": user_id,
        "iat": now,
        "nbf": now,
        "exp": now + int(ttl if ttl is not None else settings.access_ttl),
        "jti": uuid.uuid4().hex,
        "sid": uuid.uuid4().hex,
        "typ": "access",
        "role": role,
        "email": email,
        "verified": verified,
    }
    if claims:
        payload["claims"] = dict(claims)
    if settings.audience is not None:
        payload["aud"] = settings.audience
    return jwt.encode(payload, settings.secret, algorithm=ALGORITHM)


def _identity(claims: Mapping[str, Any]) -> Identity:
    extra = claims.get("claims")
    return Identity(
        {
            "id": claims["sub"],
            "email": _text(claims.get("email")),
            "role": _text(claims.get("role")),
            "verified": claims.get("verified") is True,
            "claims": extra if isinstance(extra, dict) else {},
        }
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _unauthorized() -> AlyxError:
    return AlyxError("UNAUTHORIZED", "The access token is not valid.")
