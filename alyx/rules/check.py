"""The check: names and types of a syntax tree against the schema (hard-parts §1, R1).

Makes the typed tree or raises CheckError for the first fault, with its place in the rule's text and a hint. Called by `book` for
rules and for a client's `where`; calls of functions are left to `calls`. Never looks at values, and never at SQL: what SQL
cannot say is refused by the lowering itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from alyx.rules import calls, functions, literals, syntax, tree, types
from alyx.rules.calls import Calls
from alyx.rules.literals import CheckError, plain, widen
from alyx.rules.syntax import Call, ListLiteral, Literal, Macro, MapLiteral, Message, Name, Node, Select, UInt
from alyx.rules.tree import Expr
from alyx.rules.types import BOOL, DOUBLE, DYN, INT, NUMBERS, STRING, Type
from alyx.schema import yaml
from alyx.schema.model import Collection


@dataclass(frozen=True)
class Scope:
    """What a text may name.

    doc: the collection of the record, which the text calls `variable` and the tree always `doc`; None, together with loose, is
    standalone CEL (conformance), where dyn may stand anywhere.
    collections: those that `collections.c.exists` may look into. internal: whether internal fields may be read.
    request: the members of `request` that may be used.
    """

    doc: Collection | None = None
    collections: Mapping[str, Collection] = field(default_factory=dict)
    internal: bool = True
    request: frozenset[str] = frozenset(types.REQUEST)
    loose: bool = False
    variable: str = "doc"


def check(node: Node, scope: Scope) -> Expr:
    """The typed tree of a syntax tree. Raises CheckError."""
    return _Checker(scope).expr(node)


def check_rule(node: Node, scope: Scope) -> Expr:
    """The same for a text that must be a condition."""
    checker = _Checker(scope)
    return checker.condition(checker.expr(node))


def _nearest(word: str, known: Iterable[str]) -> str | None:
    return yaml.did_you_mean(word, known)


class _Checker:
    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.calls = Calls(loose=scope.loose, internal=scope.internal)
        self.locals: dict[str, Type] = {}
        self.claimed: frozenset[str] = frozenset()
        """Variables of macros that walk over a part of `auth.claims`."""
        self.records: dict[str, Collection] = {scope.variable: scope.doc} if scope.doc else {}

    # Dispatch -----------------------------------------------------------------------------------------------------------

    def expr(self, node: Node) -> Expr:
        match node:
            case Literal():
                return self.literal(node)
            case Name():
                return self.name(node)
            case Select():
                return self.select(node)
            case Call():
                return self.call(node)
            case ListLiteral():
                return self.list_literal(node)
            case MapLiteral():
                return self.map_literal(node)
            case Macro():
                return self.macro(node)
            case Message():
                raise CheckError(f"`{node.name}` is no type that can be made here", node.start, "rules have no messages")

    @staticmethod
    def literal(node: Literal) -> Expr:
        kinds = {bool: BOOL, int: INT, UInt: types.UINT, float: DOUBLE, str: STRING, bytes: types.BYTES}
        return tree.Const(kinds.get(type(node.value), types.NULL), node.start, node.end, node.value)

    def name(self, node: Name) -> Expr:
        if node.name in self.locals:
            return tree.Local(self.locals[node.name], node.start, node.end, node.name)
        if node.name in self.records:
            first = next(iter(self.records[node.name].fields))
            raise CheckError(f"`{node.name}` is a record, not a value", node.start, f"name a field: `{node.name}.{first}`")
        if not self.scope.loose and node.name in ("auth", "request", "collections"):
            hint = "write `auth.id != null` for a signed-in caller" if node.name == "auth" else None
            raise CheckError(f"`{node.name}` is not a value", node.start, hint)
        if node.name in _TYPE_NAMES:
            return tree.Const(types.TYPE, node.start, node.end, functions.type_name(_TYPE_NAMES[node.name]))
        known = [*self.locals, *self.records, *(() if self.scope.loose else ("auth", "request", "collections"))]
        raise CheckError(f"unknown name `{node.name}`", node.start, _nearest(node.name, known) or _known(known))

    # Fields -------------------------------------------------------------------------------------------------------------

    def select(self, node: Select) -> Expr:
        if isinstance(node.operand, Name) and node.operand.name not in self.locals:
            found = self.variable(node, node.operand.name)
            if found is not None:
                return found
        if self.scope.loose and _dotted(node) == "google.protobuf.Timestamp":
            return tree.Const(types.TYPE, node.start, node.end, functions.type_name("timestamp"))
        if self.scope.loose and _dotted(node) == "google.protobuf.Duration":
            return tree.Const(types.TYPE, node.start, node.end, functions.type_name("duration"))
        operand = self.expr(node.operand)
        if operand.type.kind not in ("map", "dyn"):
            raise CheckError(f"{operand.type} has no fields", node.start, None)
        if node.test:
            return tree.Present(BOOL, node.start, node.end, operand, node.field)
        key = tree.Const(STRING, node.end - len(node.field), node.end, node.field)
        return tree.Member(operand.type.item or DYN, node.start, node.end, operand, key)

    def variable(self, node: Select, name: str) -> Expr | None:
        """`doc.x`, `m.x`, `auth.x`, `request.x`."""
        if name in self.records:
            return self.column(node, name, self.records[name])
        if self.scope.loose:
            return None
        if name == "auth":
            if node.field == "metadata":
                hint = "users write their metadata themselves; let an admin set `claims`"
                raise CheckError("`auth.metadata` may not stand in rules", node.start, hint)
            if node.field not in types.AUTH:
                raise CheckError(
                    f"`auth` has no `{node.field}`", node.start, _nearest(node.field, types.AUTH) or _known(types.AUTH)
                )
            if node.test:
                return tree.AuthPresent(BOOL, node.start, node.end, node.field)
            return tree.Auth(types.AUTH[node.field], node.start, node.end, node.field)
        if name == "request":
            return self.request(node)
        if name == "collections":
            raise CheckError("a collection is not a value", node.start, f"write `collections.{node.field}.exists(x, ...)`")
        return None

    def request(self, node: Select) -> Expr:
        if node.field not in types.REQUEST:
            hint = _nearest(node.field, types.REQUEST) or _known(types.REQUEST)
            raise CheckError(f"`request` has no `{node.field}`", node.start, hint)
        if node.field not in self.scope.request:
            allowed = _known(f"request.{name}" for name in sorted(self.scope.request)) if self.scope.request else None
            raise CheckError(
                f"`request.{node.field}` cannot be used here", node.start, allowed or "only doc and auth are known here"
            )
        if node.test:
            return tree.Const(BOOL, node.start, node.end, True)
        return tree.Request(types.REQUEST[node.field], node.start, node.end, node.field)

    def column(self, node: Select, source: str, collection: Collection) -> Expr:
        known = [item.name for item in collection.fields.values() if self.scope.internal or not item.internal]
        if node.field not in known:
            hint = _nearest(node.field, known) or _known(known)
            raise CheckError(f"`{collection.name}` has no field `{node.field}`", node.start, hint)
        if node.test:
            return tree.Const(BOOL, node.start, node.end, True)
        declared = collection.fields[node.field]
        source = "doc" if source == self.scope.variable else source
        return tree.Column(types.of_field(declared), node.start, node.end, source, declared)

    # Literals -----------------------------------------------------------------------------------------------------------

    def list_literal(self, node: ListLiteral) -> Expr:
        items = tuple(plain(self.expr(item)) for item in node.items)
        joined: Type | None = items[0].type if items else DYN
        for item in items[1:]:
            joined = types.join(joined, item.type) if joined else None
        if joined is None or joined.kind == "dyn":
            items = tuple(widen(item) for item in items)
        return tree.ListOf(Type("list", item=joined or DYN), node.start, node.end, items)

    def map_literal(self, node: MapLiteral) -> Expr:
        items = tuple(widen(plain(self.expr(item))) for entry in node.entries for item in entry)
        return tree.MapOf(types.MAP, node.start, node.end, items)

    # Operators and calls ------------------------------------------------------------------------------------------------

    def condition(self, expr: Expr) -> Expr:
        if expr.type.kind == "bool" or (self.scope.loose and expr.type.kind == "dyn"):
            return expr
        hint = "compare it: `... == true`" if expr.type.kind == "dyn" else "a condition is true or false"
        raise CheckError(f"needs a bool, found {expr.type}", expr.start, hint)

    def call(self, node: Call) -> Expr:
        name, args = node.function, node.args
        if name in (syntax.AND, syntax.OR):
            items = tuple(self.condition(self.expr(item)) for item in args)
            return tree.Logic(BOOL, node.start, node.end, name == syntax.AND, items)
        if name == syntax.NOT:
            return tree.Not(BOOL, node.start, node.end, self.condition(self.expr(args[0])))
        if name == syntax.CONDITION:
            return self.conditional(node)
        if name == syntax.INDEX:
            return self.index(node)
        if name in ("_==_", "_!=_"):
            equal = self.equal(node, self.expr(args[0]), self.expr(args[1]))
            return equal if name == "_==_" else tree.Not(BOOL, node.start, node.end, equal)
        if name in ("_<_", "_<=_", "_>_", "_>=_"):
            return self.order(node, self.expr(args[0]), self.expr(args[1]))
        if name == syntax.IN:
            return self.contains(node, self.expr(args[0]), self.expr(args[1]))
        return self.invoke(node)

    def conditional(self, node: Call) -> Expr:
        test = self.condition(self.expr(node.args[0]))
        yes, no = plain(self.expr(node.args[1])), plain(self.expr(node.args[2]))
        joined = types.join(yes.type, no.type)
        if joined is None:
            if not self.scope.loose:
                raise CheckError(f"the branches of ?: differ: {yes.type} and {no.type}", node.start, "make them one type")
            joined = DYN
        if joined.kind == "dyn":
            yes, no = widen(yes), widen(no)
        return tree.Cond(joined, node.start, node.end, test, yes, no)

    def index(self, node: Call) -> Expr:
        operand, key = self.expr(node.args[0]), plain(self.expr(node.args[1]))
        kind = operand.type.kind
        if kind not in ("list", "map", "dyn") or (kind == "list" and key.type.kind not in (NUMBERS | {"dyn"})):
            raise CheckError(f"{operand.type} has no [{key.type}]", node.start)
        return tree.Member(operand.type.item or DYN, node.start, node.end, operand, widen(key))

    def equal(self, node: Node, left: Expr, right: Expr) -> Expr:
        for one, other in ((left, right), (right, left)):
            if isinstance(one, tree.Auth) and _is_null(other):
                present = tree.AuthPresent(BOOL, node.start, node.end, one.name)
                return tree.Not(BOOL, node.start, node.end, present)
            if isinstance(one, tree.Member) and _is_null(other) and self.of_claims(one) and (key := _constant_key(one)):
                claimed = tree.Present(BOOL, node.start, node.end, one.operand, key)
                return tree.Not(BOOL, node.start, node.end, claimed)
        left, right = self.matched(node, left, right, "compared")
        if left.type.kind == "bool":
            for side in (left, right):
                if isinstance(side, tree.Cond | tree.Logic) and side.type.nullable:
                    raise CheckError("a nullable bool cannot stand in a compared ?:", side.start, "write `doc.field == true`")
        return tree.Equal(BOOL, node.start, node.end, left, right)

    def of_claims(self, expr: Expr) -> bool:
        """Whether a value stands in the caller's claims, where null is as good as not there."""
        match expr:
            case tree.Auth(name="claims"):
                return True
            case tree.Local(name=name):
                return name in self.claimed
            case tree.Member(operand=inner) | tree.Widen(operand=inner) | tree.Narrow(operand=inner):
                return self.of_claims(inner)
        return False

    def order(self, node: Call, left: Expr, right: Expr) -> Expr:
        left, right = self.matched(node, left, right, "ordered")
        for side in (left, right):
            if side.type.kind not in types.ORDERED | {"dyn"}:
                raise CheckError(f"{side.type} has no order", side.start)
        return tree.Order(BOOL, node.start, node.end, syntax.SIGNS[node.function], left, right)

    def matched(self, node: Node, left: Expr, right: Expr, verb: str) -> tuple[Expr, Expr]:
        """Both sides as one type: numbers folded or cast, literals read as the column's type, dyn on both sides or neither."""
        left, right = literals.fitted(left, right), literals.fitted(right, left)
        one, other = left.type.kind, right.type.kind
        if "decimal" in (one, other):
            if {one, other} <= {"decimal", "int", "null"}:
                return left, right
            found = next(item for item in (one, other) if item != "decimal")
            raise CheckError(
                f"a decimal cannot be {verb} with {found}", node.start, "use a decimal, an int or a literal such as 9.99"
            )
        if one == other or "null" in (one, other):
            return left, right
        if {one, other} == {"int", "double"}:
            return literals.as_double(left), literals.as_double(right)
        if "dyn" in (one, other) or {one, other} <= NUMBERS:
            return widen(left), widen(right)
        if self.scope.loose and verb == "compared":
            return widen(left), widen(right)
        raise CheckError(f"{left.type} cannot be {verb} with {right.type}", node.start, _type_hint(left, right))

    def contains(self, node: Call, item: Expr, container: Expr) -> Expr:
        kind = container.type.kind
        if isinstance(container, tree.ListOf):
            return self.in_list(node, item, container)
        plain(item)
        if kind not in ("list", "map", "dyn"):
            raise CheckError(f"`in` needs a list or a map, found {container.type}", container.start)
        inner = container.type.item or DYN
        if kind == "list" and inner.kind != "dyn":
            if item.type.kind not in (inner.kind, "dyn", "null") and not self.scope.loose:
                raise CheckError(f"{item.type} cannot be in {container.type}", node.start)
            if item.type.kind == inner.kind:
                return tree.Contains(BOOL, node.start, node.end, item, container)
        return tree.Contains(BOOL, node.start, node.end, widen(item), widen(container))

    def in_list(self, node: Call, item: Expr, container: tree.ListOf) -> Expr:
        """`x in [a, b]`: each compared as by ==, so that literals fit the column."""
        source = node.args[1]
        raw = tuple(each.operand if isinstance(each, tree.Widen) else each for each in container.items)
        assert isinstance(source, ListLiteral)
        pairs = [self.matched(node, item, each, "compared") for each in raw]
        if item.type.kind == "decimal":
            tests = tuple(tree.Equal(BOOL, node.start, node.end, one, other) for one, other in pairs)
            return tree.Logic(BOOL, node.start, node.end, False, tests) if tests else _false(node)
        same = item.type.kind != "dyn" and all(
            one is item and other.type.kind in (item.type.kind, "null") for one, other in pairs
        )
        if same:
            fitted = tuple(other for _, other in pairs)
            typed = Type("list", item=replace(item.type, nullable=any(each.type.nullable for each in fitted)))
            return tree.Contains(BOOL, node.start, node.end, item, tree.ListOf(typed, container.start, container.end, fitted))
        widened = tuple(widen(each) for each in raw)
        items = tree.ListOf(types.LIST, container.start, container.end, widened)
        return tree.Contains(BOOL, node.start, node.end, widen(item), items)

    def invoke(self, node: Call) -> Expr:
        sources = node.args if node.target is None else (node.target, *node.args)
        if calls.is_conversion(node):
            return self.calls.convert(node, self.expr(sources[0]))
        calls.check_name(node)
        return self.calls.resolve(node, tuple(plain(self.expr(item)) for item in sources))

    # Macros -------------------------------------------------------------------------------------------------------------

    def macro(self, node: Macro) -> Expr:
        target = node.target
        if isinstance(target, Select) and isinstance(target.operand, Name) and target.operand.name == "collections":
            return self.elsewhere(node, target)
        if node.variable in self.records or node.variable in _TAKEN:
            raise CheckError(f"`{node.variable}` is taken", node.start, "give the variable another name")
        source = self.expr(target)
        if source.type.kind not in ("list", "map", "dyn"):
            raise CheckError(f"{node.kind}() needs a list or a map, found {source.type}", node.start)
        outer, outside = dict(self.locals), self.claimed
        self.claimed = outside | {node.variable} if self.of_claims(source) else outside - {node.variable}
        self.locals[node.variable] = (source.type.item or DYN) if source.type.kind == "list" else DYN
        predicate = self.condition(self.expr(node.predicate)) if node.predicate is not None else None
        transform = plain(self.expr(node.transform)) if node.transform is not None else None
        self.locals, self.claimed = outer, outside
        result = {"map": Type("list", item=transform.type if transform else DYN), "filter": source.type.required()}
        if node.kind == "filter" and source.type.kind != "list":
            result["filter"] = types.LIST
        typed = result.get(node.kind, BOOL)
        return tree.Comprehension(typed, node.start, node.end, node.kind, source, node.variable, predicate, transform)

    def elsewhere(self, node: Macro, target: Select) -> Expr:
        if not self.scope.collections:
            raise CheckError("`collections` cannot be used here", node.start, "only doc and auth are known here")
        if target.field not in self.scope.collections:
            hint = _nearest(target.field, self.scope.collections) or _known(self.scope.collections)
            raise CheckError(f"there is no collection `{target.field}`", target.start, hint)
        if node.kind != "exists" or node.predicate is None:
            raise CheckError(f"collections have no {node.kind}()", node.start, "only `collections.c.exists(x, ...)`")
        if node.variable in self.records or node.variable in self.locals or node.variable in _TAKEN:
            raise CheckError(f"`{node.variable}` is taken", node.start, "give the variable another name")
        self.records[node.variable] = self.scope.collections[target.field]
        predicate = self.condition(self.expr(node.predicate))
        del self.records[node.variable]
        return tree.Exists(BOOL, node.start, node.end, target.field, node.variable, predicate)


_TAKEN = frozenset({"doc", "auth", "request", "collections"})
"""Names that no variable of a macro may have. `doc` is among them where the record is called otherwise, too: see Scope."""
_TYPE_NAMES = {name: name for name in ("bool", "int", "uint", "double", "string", "bytes", "list", "map", "type")} | {
    "null_type": "null"
}


def _false(node: Node) -> Expr:
    return tree.Const(BOOL, node.start, node.end, False)


def _known(names: Iterable[str]) -> str:
    return "known: " + ", ".join(names)


def _is_null(expr: Expr) -> bool:
    return isinstance(expr, tree.Const) and expr.value is None


def _constant_key(member: tree.Member) -> str | None:
    key = member.key.operand if isinstance(member.key, tree.Widen) else member.key
    return key.value if isinstance(key, tree.Const) and isinstance(key.value, str) else None


def _dotted(node: Node) -> str | None:
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Select) and (left := _dotted(node.operand)):
        return f"{left}.{node.field}"
    return None


def _type_hint(left: Expr, right: Expr) -> str | None:
    kinds = {left.type.kind, right.type.kind}
    if kinds == {"timestamp", "string"}:
        return "write timestamp('2026-01-01T00:00:00Z')"
    if "bool" in kinds:
        return "a bool is compared with true or false"
    return None
