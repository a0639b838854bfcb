"""How the verdict of a read rule depends on who asks; so that live queries judge once for many (hard-parts §2.1, §2.2).

`realtime` makes one Audience per pair of a read rule and a client's `where`. Pure, and it decides nothing about a verdict: that
is for Rule.judge and SQL. Each form of use that `uses` knows is proven; a use that is none of these forms splits the classes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from alyx.base import ids
from alyx.rules import tree
from alyx.rules.book import Rule
from alyx.rules.elsewhere import Elsewhere
from alyx.rules.given import Given
from alyx.rules.reach import fixed, searched, times
from alyx.rules.uses import Uses
from alyx.rules.values import KINDS, is_text

_NOBODY = f"nobody:{ids.random_id()}{ids.random_id()}"
"""178 random bits that are shown to nobody: no record, constant or claim holds it."""


class Audience:
    """What some rules, all of which must hold, make of their caller.

    The promise, for callers A and B, any record and one request:
    - if shape(A) == shape(B) and their values of `indexed_fields` are the same, the verdicts are the same;
    - if none of A's indexed values occurs in the record (`occurring`) or in any audience of `elsewhere` for it, A's verdict is
      that of nobody(A), which is the same for all callers of one shape.

    indexed: field of the caller -> {column of doc: whether its elements are meant}. Of a json field any text, keys included,
        stands for a caller; so ask `occurring`, which knows, instead of reading the columns.
    indexed_fields: the same fields, those that only `elsewhere` compares included, in a fixed order.
    elsewhere: one per `collections.c.exists`, or per alternative in it; those inside others, too.
    uses_time: reads request.time; times: the columns of doc that are compared directly with it, None if it is used otherwise.
    request_fields: what else is read of the request, such as `ip`.
    searched: columns of doc whose value is looked into, not only compared.
    fixed: column of doc -> the only values, in API form, with which a record can pass.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        uses = Uses()
        lookups = [(rule, lookup) for rule in rules for lookup in uses.read(rule.tree)]
        of_rows = {name for _, lookup in lookups for name in lookup.by_auth.values()}
        self.indexed_fields = tuple(sorted((uses.places.keys() | of_rows) - uses.otherwise))
        self.indexed: Mapping[str, Mapping[str, bool]] = {name: uses.places.get(name, {}) for name in self.indexed_fields}
        self.elsewhere = tuple(Elsewhere(rule, lookup, frozenset(self.indexed_fields)) for rule, lookup in lookups)
        self.request_fields = frozenset().union(*(rule.request_fields for rule in rules)) - {"time"}
        self.uses_time = any(rule.uses_time for rule in rules)
        self.times = times([rule.tree for rule in rules])
        self.fixed = fixed([rule.tree for rule in rules])
        self.searched = searched([rule.tree for rule in rules])
        self._readers = [(name, self._reader(places, uses.json)) for name, places in self.indexed.items()]
        self._constants = {name: frozenset(uses.constants.get(name, ())) for name in self.indexed_fields}
        self._parts = [part for rule in rules for part in rule.givens if self._splits(part)]
        self._whole = tuple(sorted({name for rule in rules for part in rule.givens for name in self._late(part)}))

    # Callers ------------------------------------------------------------------------------------------------------------

    def shape(self, auth: Mapping[str, Any]) -> Hashable:
        """What splits classes; made of tuples, texts, numbers and None, and the same in every process.

        Which indexed fields are null (or equal to a constant of the rules), the outcomes of conditions about the caller alone,
        and the values that are used in any other way.
        """
        return (
            *(self._state(name, auth.get(name)) for name in self.indexed_fields),
            *(part.outcome(auth) if part.condition else _read(part, auth) for part in self._parts),
            *(_canonical(auth.get(name)) for name in self._whole),
        )

    def nobody(self, auth: Mapping[str, Any]) -> dict[str, Any]:
        """A caller of the same shape who owns nothing: each indexed field that is not null, nor a constant of the rules, is
        replaced by a text that nothing can equal."""
        found = dict(auth)
        for name in self.indexed_fields:
            if self._state(name, found.get(name)) == "text":
                found[name] = _NOBODY
        return found

    def occurring(self, doc: Mapping[str, Any]) -> dict[str, set[str]]:
        """Per indexed field, the values of callers that a record names. doc: API form; fields may be absent."""
        found: dict[str, set[str]] = {}
        for name, readers in self._readers:
            texts = found[name] = set()
            for column, read in readers:
                value = doc.get(column)
                if value is not None:
                    texts.update(read(value))
        return found

    @staticmethod
    def _reader(places: Mapping[str, bool], json: set[str]) -> list[tuple[str, Callable[[Any], Iterable[str]]]]:
        return [(name, _texts if name in json else tuple if many else _itself) for name, many in places.items()]

    def _state(self, name: str, value: Any) -> Hashable:
        if value is None:
            return None
        if not is_text(value):
            return ("odd", _canonical(value))
        return ("is", value) if value in self._constants[name] else "text"

    # Making -------------------------------------------------------------------------------------------------------------

    def _splits(self, part: Given) -> bool:
        """Whether a given part tells callers apart beyond what the indexed fields do."""
        if part.late or not _fields(part):
            return False
        return not (isinstance(part.expr, tree.Auth) and part.expr.name in self.indexed)

    def _late(self, part: Given) -> set[str]:
        """The fields whose values split because caller and request stand in one part."""
        return _fields(part) - self.indexed.keys() if part.late else set()


def _itself(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else ()


def _texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value, keys included."""
    rest = [value]
    while rest:
        value = rest.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            rest += value
        elif isinstance(value, dict):
            yield from value
            rest += value.values()


def _fields(part: Given) -> set[str]:
    return {node.name for node in tree.walk(part.expr) if isinstance(node, tree.Auth | tree.AuthPresent)}


def _read(part: Given, auth: Mapping[str, Any]) -> Hashable:
    """The value of a part as a key, the outcome beside it: what SQL cannot be told is an error there and a value in Python."""
    try:
        value = _canonical(part.judge(auth, {}, {}))
    except Exception:  # any error is the error of CEL
        return ("error",)
    return (part.outcome(auth), value)


def _canonical(value: Any) -> Hashable:
    """A value of any kind as a key: 1, 1.0 and true are three."""
    try:
        return _keyed(value)
    except RecursionError:
        return object()  # alone in its class


def _keyed(value: Any) -> Hashable:
    if isinstance(value, dict):
        return ("map", *sorted((repr(key), _keyed(item)) for key, item in value.items()))
    if isinstance(value, list):
        return ("list", *(_keyed(item) for item in value))
    return (KINDS.get(type(value), type(value).__name__), str(value))
