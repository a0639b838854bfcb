"""Who is asking: the only thing that the layers below `auth` know about accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """A caller as the rules see it, under the name `auth`.

    values: `id, email, role, verified, claims` (and later the profile fields); a value that is absent or None counts as null.
    Compared by identity, so that it can key a cache cheaply.
    """

    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str | None:
        """The user's id, None for an anonymous caller."""
        return self.values.get("id")

    @property
    def is_admin(self) -> bool:
        """Whether the role is `admin`. Admins are judged as everybody unless they ask otherwise (contract §4)."""
        return self.values.get("role") == "admin"


ANONYMOUS = Identity()
