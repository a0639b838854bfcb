"""One caller's rights in one request: the rules of a collection, bound to who asks.

Every record path asks here and nowhere else, so REST, batch and later realtime judge alike. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, TypeAlias

import sqlalchemy as sa

from alyx.base import clock
from alyx.base.errors import AlyxError
from alyx.base.identity import ANONYMOUS, Identity
from alyx.rules.book import CollectionRules, Rule

Known: TypeAlias = dict[Rule, tuple[Hashable, dict[str, Any] | None]]
"""Per rule of the schema: its shape for one identity, and the values of its parameters."""


class Access:
    """What rules need to know: the identity's values under `auth`, and the request. as_admin: an admin asked to bypass them."""

    __slots__ = ("_known", "as_admin", "auth", "body", "ip", "method", "time")

    def __init__(
        self,
        identity: Identity = ANONYMOUS,
        *,
        method: str = "GET",
        ip: str = "",
        as_admin: bool = False,
        known: Known | None = None,
    ) -> None:
        """known: what earlier requests of the same identity found out about it; filled here."""
        self._known = {} if known is None else known
        self.auth: Mapping[str, Any] = identity.values
        self.method = method
        self.ip = ip
        self.as_admin = as_admin and identity.is_admin
        self.body: Any = None
        self.time: str | None = None

    @classmethod
    def unrestricted(cls) -> Access:
        """For the server's own look at the records, such as which reference is missing."""
        everything = cls()
        everything.as_admin = True
        return everything

    def again(self) -> Access:
        """The same rights in a later request."""
        later = Access.__new__(Access)
        for name in ("_known", "as_admin", "auth", "body", "ip", "method"):
            setattr(later, name, getattr(self, name))
        later.time = None
        return later

    def require(self, rule: Rule, collection: str) -> None:
        """Refuse at once where there is no rule: the collection is closed to all but admins. Raises AlyxError FORBIDDEN."""
        if rule.missing and not self.as_admin and self.auth.get("role") != "admin":
            raise AlyxError("FORBIDDEN", f"The collection {collection} is closed for this operation.")

    def request(self) -> dict[str, Any]:
        """The variable `request`; the time is taken once, so that one request sees one moment."""
        if self.time is None:
            self.time = clock.now()
        return {"method": self.method, "ip": self.ip, "time": self.time, "body": self.body}

    def shape(self, rule: Rule) -> Hashable:
        """What the rule's SQL depends on besides the schema."""
        return True if self.as_admin or rule.constant is True else self._learn(rule)[0]

    def where(self, rule: Rule, source: sa.FromClause) -> sa.ColumnElement[bool] | None:
        """The rule as a condition on the rows of a table; None: always true."""
        return None if self.as_admin or rule.constant is True else rule.where(self.auth, source)

    def binds(self, rule: Rule) -> dict[str, Any]:
        """The values of the rule's auth and request parameters."""
        if self.as_admin or rule.constant is not None:
            return {}
        kept = self._learn(rule)[1]
        return rule.binds(self.auth, self.request()) if kept is None else kept.copy()

    def _learn(self, rule: Rule) -> tuple[Hashable, dict[str, Any] | None]:
        """A rule's shape for this caller, and its parameters where they do not come from the request."""
        kept = self._known.get(rule)
        if kept is None:
            timeless = not (rule.uses_time or rule.request_fields)
            kept = self._known[rule] = (rule.shape(self.auth), rule.binds(self.auth, {}) if timeless else None)
        return kept

    def judge(self, rule: Rule, doc: Mapping[str, Any]) -> bool:
        """Judge in Python. Only for rules that do not look elsewhere."""
        if self.as_admin or rule.constant is True:
            return True
        return rule.judge(self.auth, doc, self.request() if rule.uses_time or rule.request_fields else {})


def open_to_all(rules: CollectionRules) -> bool:
    """Whether everybody may read every record, so that no check of readability is needed."""
    return rules.read.constant is True
