"""The rules of one schema, checked and ready: the door of this package.

`RuleBook.load` reads every rule at start and raises all faults together. A Rule then answers in two ways that mean the same:
`judge` in Python on a record at hand, `where` as a condition of a statement. `records` calls it, `cli` checks with it; later
`realtime` judges images with the very same rule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from alyx.base.errors import AlyxError, SourceError, SourceFault
from alyx.database import tables
from alyx.rules import check, given, parser, python, syntax, tree, types
from alyx.rules.check import Scope
from alyx.rules.given import Given, Outcome
from alyx.rules.literals import CheckError
from alyx.rules.sql import LARGEST, LARGEST_WHERE, STEPS, STEPS_WHERE, Lowering, size, too_large
from alyx.rules.sql_forms import Sql, Unsupported
from alyx.schema.model import (
    CHANNEL_OPERATIONS,
    FORBIDDEN_RULE,
    OPERATIONS,
    ChannelOperation,
    Collection,
    Field,
    Operation,
    Place,
    RuleText,
    Schema,
)

READ_REQUEST = frozenset({"ip", "time"})
"""What read rules and those of channels may use of the request: subscriptions have no method and no body (contract §4)."""
_CACHED_WHERES = 1024
_KINDS = ("string", "int", "double", "bool", "list", "map", "null", "error")


class RuleFault(Exception):
    """Why a text cannot be a rule. line and column count from 1 inside the text."""

    def __init__(self, message: str, text: str, start: int, hint: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.start = start
        self.line, self.column = syntax.position(text, start)

    def sentence(self, text: str) -> str:
        """The message with the place inside the rule, if it is not simply the whole."""
        if not self.start:
            return self.message
        where = f"line {self.line}, column {self.column}" if "\n" in text.strip() else f"column {self.column}"
        return f"{self.message} (at {where} of the rule)"


class Rule:
    """One checked rule.

    constant: what it is if it depends on nothing. auth_fields, doc_fields, request_fields: what it reads.
    looks_elsewhere: uses `collections`; elsewhere: which. uses_time: reads request.time. missing: was not written.
    """

    def __init__(
        self, text: str, place: Place, typed: tree.Expr, metadata: sa.MetaData, *, missing: bool = False, digest: str = ""
    ) -> None:
        self.text = text
        self.place = place
        self.missing = missing
        self.tree = typed
        nodes = list(tree.walk(typed))
        self.auth_fields = frozenset(node.name for node in nodes if isinstance(node, tree.Auth | tree.AuthPresent))
        self.doc_fields = frozenset(node.field.name for node in nodes if isinstance(node, tree.Column) and node.source == "doc")
        self.request_fields = frozenset(node.name for node in nodes if isinstance(node, tree.Request))
        self.looks_elsewhere = any(isinstance(node, tree.Exists) for node in nodes)
        self.uses_time = "time" in self.request_fields
        self.elsewhere = frozenset(node.collection for node in nodes if isinstance(node, tree.Exists))
        self._metadata = metadata
        self._columns = {node.field.name: node.field for node in nodes if isinstance(node, tree.Column) and node.source == "doc"}
        self._givens = given.collect(typed, digest)
        self._early = [item for item in self._givens.values() if not item.late]
        self._bound = [item for item in self._givens.values() if item.late or not item.condition]
        self.constant = self._constant()

    @cached_property
    def _verdict(self) -> python.Judge:
        """The generated function; made when first asked for, which a client's condition never is."""
        if self.looks_elsewhere:
            raise ValueError("a rule that looks elsewhere is judged by the database")
        return python.verdict(self.tree)

    def _constant(self) -> bool | None:
        if self.auth_fields or self.doc_fields or self.request_fields or self.looks_elsewhere:
            return None
        return self._verdict({}, {}, {}) is True

    def judge(self, auth: Mapping[str, Any], doc: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
        """Whether the rule holds; an error is False. doc: API form, every field there, internal ones included.

        Raises ValueError for a rule that looks into other collections: those are for `where` and `holds_for_values`.
        """
        return self._verdict(auth, doc, request) is True

    def verdict(self, auth: Mapping[str, Any], doc: Mapping[str, Any], request: Mapping[str, Any]) -> bool | None:
        """Like judge, but None for an error."""
        found: bool | None = self._verdict(auth, doc, request)
        return found

    # SQL ----------------------------------------------------------------------------------------------------------------

    def shape(self, auth: Mapping[str, Any]) -> Hashable:
        """What the SQL depends on: the conditions about the caller alone, and the kinds of its values (null among them)."""
        return tuple(item.outcome(auth) for item in self._early)

    def where(self, auth: Mapping[str, Any], doc: sa.FromClause) -> sa.ColumnElement[bool] | None:
        """The condition on rows of `doc` (the collection's table or an alias of it); None is always true, sa.false() never.

        Caller and request are parameters, see `binds`. The text is the same for the same `shape`.
        """
        found = self._lower(self._outcomes(auth), lambda field: doc.c[field.name])
        return None if isinstance(found, sa.sql.elements.True_) else found

    def holds_for_values(self, auth: Mapping[str, Any]) -> sa.Select[Any]:
        """A SELECT that gives one row if the rule holds for a record given by the parameters `doc_<field>` (see `doc_binds`)."""
        condition = self._lower(self._outcomes(auth), _value_column)
        return sa.select(sa.literal_column("1")).where(condition)

    def binds(self, auth: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
        """Values for the parameters of caller and request, in stored form."""
        return {item.bind: item.value(auth, request) for item in self._bound}

    def doc_binds(self, doc: Mapping[str, Any]) -> dict[str, Any]:
        """Values for the `doc_<field>` parameters, from a record in API form."""
        return {f"doc_{name}": tables.stored(field, doc[name]) for name, field in self._columns.items()}

    @property
    def givens(self) -> tuple[Given, ...]:
        """The parts that depend on the caller, the request and constants alone, in the order of the text."""
        return tuple(self._givens.values())

    def lowering(self) -> Lowering:
        """Lowers parts of this rule that read neither caller nor request; `doc` stands as the parameters `doc_<field>`."""
        return Lowering(self._metadata, self._givens, self._outcomes({}), _value_column)

    def table(self, collection: str) -> sa.Table:
        """The table of a collection that the rule looks into."""
        return self._metadata.tables[collection]

    def channel_binds(self, name: str) -> dict[str, Any]:
        """Values for the `doc_<field>` parameters of a channel's rule, see `channel_record`."""
        return self.doc_binds(channel_record(name))

    def part(self, node: tree.Expr) -> Rule:
        """A condition inside this rule as a rule of its own; explain judges parts by it."""
        return Rule(self.text[node.start : node.end], self.place, node, self._metadata, digest="part")

    def prepare(self) -> None:
        """Make the Python form now, so that no request finds out that it is nested too deep. Raises ValueError."""
        if not self.looks_elsewhere:
            _ = self._verdict

    def prove(self, largest: int = LARGEST, steps: int = STEPS) -> None:
        """Lower the rule for every kind of caller, so that no request finds out what SQL cannot say. Raises Unsupported."""
        loose = any(item.expr.type.kind == "dyn" for item in self._early)
        for kind in _KINDS if loose else _KINDS[:1]:
            outcomes: dict[str, Outcome] = {item.bind: _assumed(item, kind) for item in self._early}
            if size(self._lower(outcomes, _value_column, steps)) > largest:
                raise too_large(self.tree)

    def _outcomes(self, auth: Mapping[str, Any]) -> dict[str, Outcome]:
        return {item.bind: item.outcome(auth) for item in self._early}

    def _lower(
        self, outcomes: Mapping[str, Outcome], column: Callable[[Field], Sql], steps: int = STEPS
    ) -> sa.ColumnElement[bool]:
        return Lowering(self._metadata, self._givens, outcomes, column, steps).lower(self.tree)


def _value_column(field: Field) -> Sql:
    return sa.bindparam(f"doc_{field.name}", type_=tables.column_type(field)(), unique=False)


def _assumed(item: Given, kind: str) -> Outcome:
    if item.condition:
        return True
    return kind if item.expr.type.kind == "dyn" else item.expr.type.kind


class CollectionRules:
    """The five rules of a collection; one that is not written is the admin rule, an update_check the update rule."""

    def __init__(self, rules: Mapping[Operation, Rule]) -> None:
        self.create = rules["create"]
        self.read = rules["read"]
        self.update = rules["update"]
        self.update_check = rules["update_check"]
        self.delete = rules["delete"]

    def __getitem__(self, operation: Operation) -> Rule:
        found: Rule = getattr(self, operation)
        return found


class ChannelRules:
    """The two rules of a kind of channels; one that is not written is the admin rule.

    Each is judged for one channel, whose values stand where a record's do (`channel_record`): by `judge`, or, if it
    looks_elsewhere, by `holds_for_values` with `binds` and `channel_binds`.
    """

    def __init__(self, rules: Mapping[ChannelOperation, Rule]) -> None:
        self.join = rules["join"]
        self.send = rules["send"]

    def __getitem__(self, operation: ChannelOperation) -> Rule:
        found: Rule = getattr(self, operation)
        return found


def channel_record(name: str) -> dict[str, str]:
    """The variable `channel` as Rule.judge takes it for `doc`. name: whole, such as `room:42`; no NUL, no lone surrogate."""
    return {"name": name, "topic": name.partition(":")[2]}


class RuleBook:
    """All rules of one schema. Made by `load`; immutable but for the cache of clients' conditions."""

    def __init__(
        self,
        schema: Schema,
        metadata: sa.MetaData,
        rules: Mapping[str, CollectionRules],
        channels: Mapping[str, ChannelRules] = MappingProxyType({}),
    ) -> None:
        self._schema = schema
        self._metadata = metadata
        self._rules = rules
        self._channels = channels
        self._observed = _observed(rules, channels)
        self._where = lru_cache(maxsize=_CACHED_WHERES)(self._checked_where)

    @classmethod
    def load(cls, schema: Schema, metadata: sa.MetaData) -> RuleBook:
        """Check every rule. Raises SourceError with all faults, in the order of the file."""
        faults: list[SourceFault] = []
        rules: dict[str, CollectionRules] = {}
        for collection in schema.collections.values():
            found: dict[Operation, Rule] = {}
            for operation in OPERATIONS:
                written = _written(collection, operation)
                try:
                    found[operation] = compile_rule(schema, metadata, collection, operation, written)
                except RuleFault as error:
                    path = f"collections.{collection.name}.rules.{operation}"
                    faults.append(_fault(error, path, written, collection.place))
            if len(found) == len(OPERATIONS):
                rules[collection.name] = CollectionRules(found)
        channels = _channels(schema, metadata, faults)
        if faults:
            raise SourceError(sorted(_unique(faults), key=lambda fault: (fault.line, fault.column)))
        return cls(schema, metadata, rules, channels)

    def of(self, collection: str) -> CollectionRules:
        """The rules of a collection; KeyError if there is no such one."""
        return self._rules[collection]

    def channel(self, kind: str) -> ChannelRules | None:
        """The rules of a kind of channels, the part of a name before its first colon; None if there is no such kind."""
        return self._channels.get(kind)

    def where(self, collection: str, text: str) -> Rule:
        """A client's condition: doc and auth only, no internal fields, no collections, 1 kB and 50 nodes.

        Raises AlyxError INVALID_QUERY that says what is wrong and where. Kept for the last 1,024 texts.
        """
        return self._where(collection, text)

    def _checked_where(self, collection: str, text: str) -> Rule:
        scope = Scope(self._schema.collections[collection], {}, internal=False, request=frozenset())
        try:
            return _compiled(text, Place(), scope, self._metadata, parser.WHERE, in_sql=True)
        except RuleFault as error:
            place = f" (column {error.column})" if error.start else ""
            raise AlyxError("INVALID_QUERY", f"where: {error.message}{place}.", hint=_sentence(error.hint)) from None

    def observed(self, collection: str) -> frozenset[str]:
        """The columns that any rule of any collection or channel reads of this one; change images must hold them."""
        return self._observed.get(collection, frozenset())


def compile_rule(
    schema: Schema, metadata: sa.MetaData, collection: Collection, operation: Operation, written: RuleText | None
) -> Rule:
    """One rule of a schema, or the admin rule if none is written. Raises RuleFault."""
    request = READ_REQUEST if operation == "read" else frozenset(types.REQUEST)
    scope = Scope(collection, schema.collections, request=request)
    if written is None:
        return _compiled(FORBIDDEN_RULE, collection.place, scope, metadata, parser.RULE, in_sql=False, missing=True)
    return _compiled(written.text, written.place, scope, metadata, parser.RULE, in_sql=operation == "read")


def _compiled(
    text: str, place: Place, scope: Scope, metadata: sa.MetaData, limits: parser.Limits, *, in_sql: bool, missing: bool = False
) -> Rule:
    name = scope.doc.name if scope.doc else ""
    # Whole: a client who found a `where` with the digest of a rule would bind the values of that rule's parameters.
    digest = hashlib.sha256(f"{name}:{text}".encode("utf-8", "surrogatepass")).hexdigest()
    try:
        typed = check.check_rule(parser.parse(text, limits), scope)
        rule = Rule(text, place, typed, metadata, missing=missing, digest=digest)
        if in_sql or rule.looks_elsewhere:
            rule.prove(*((LARGEST_WHERE, STEPS_WHERE) if limits is parser.WHERE else ()))
        if scope.request:
            rule.prepare()
    except (syntax.CelSyntaxError, CheckError, Unsupported) as error:
        raise RuleFault(error.message, text, error.start, error.hint) from None
    except ValueError as error:
        raise RuleFault(str(error), text, 0, None) from None
    return rule


def _sentence(hint: str | None) -> str | None:
    """A hint as an API's client reads it: beginning with a capital, unless with a name, and ending with a stop."""
    if hint is None:
        return None
    first = hint.partition(" ")[0].rstrip(",:")
    begun = hint[0].upper() + hint[1:] if first.isalpha() else hint
    return begun if begun.endswith(("?", ".")) else begun + "."


def syntax_fault(text: str) -> RuleFault | None:
    """What keeps a text from being read as a rule at all; None where only a schema could tell more."""
    try:
        parser.parse(text, parser.RULE)
    except syntax.CelSyntaxError as error:
        return RuleFault(error.message, text, error.start, error.hint)
    return None


def _channels(schema: Schema, metadata: sa.MetaData, faults: list[SourceFault]) -> dict[str, ChannelRules]:
    scope = Scope(types.CHANNEL, schema.collections, request=READ_REQUEST, variable=types.CHANNEL.name)
    made: dict[str, ChannelRules] = {}
    for channel in schema.channels.values():
        found: dict[ChannelOperation, Rule] = {}
        for operation in CHANNEL_OPERATIONS:
            written: RuleText | None = getattr(channel, operation)
            text, place = (written.text, written.place) if written else (FORBIDDEN_RULE, channel.place)
            try:
                found[operation] = _compiled(text, place, scope, metadata, parser.RULE, in_sql=False, missing=written is None)
            except RuleFault as error:
                faults.append(_fault(error, f"channels.{channel.name}.{operation}", written, channel.place))
        if len(found) == len(CHANNEL_OPERATIONS):
            made[channel.name] = ChannelRules(found)
    return made


def _fault(error: RuleFault, path: str, written: RuleText | None, otherwise: Place) -> SourceFault:
    place = written.place if written else otherwise
    return SourceFault(place.file, place.line, place.column, path, error.sentence(written.text if written else ""), error.hint)


def _written(collection: Collection, operation: Operation) -> RuleText | None:
    """The rule as written; an absent update_check is the update rule (contract §4)."""
    found = collection.rules.get(operation)
    return collection.rules.get("update") if found is None and operation == "update_check" else found


def _unique(faults: list[SourceFault]) -> list[SourceFault]:
    """Without the second report of an update rule that also stands for update_check."""
    seen: set[tuple[str, int, int]] = set()
    kept = []
    for fault in faults:
        key = (fault.path.rsplit(".", 2)[0] + fault.message, fault.line, fault.column)
        if key not in seen or not fault.path.endswith("update_check"):
            kept.append(fault)
        seen.add(key)
    return kept


def _observed(rules: Mapping[str, CollectionRules], channels: Mapping[str, ChannelRules]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for kind in channels.values():
        for action in CHANNEL_OPERATIONS:
            _columns(kind[action].tree, {"doc": ""}, found)
    found.pop("", None)  # a channel is no collection
    for name, of in rules.items():
        for operation in OPERATIONS:
            _columns(of[operation].tree, {"doc": name}, found)
    return {name: frozenset(columns) for name, columns in found.items()}


def _columns(node: tree.Expr, sources: dict[str, str], found: dict[str, set[str]]) -> None:
    if isinstance(node, tree.Column):
        found.setdefault(sources[node.source], set()).add(node.field.name)
    if isinstance(node, tree.Exists):
        sources = {**sources, node.variable: node.collection}
    for part in node.parts():
        _columns(part, sources, found)
