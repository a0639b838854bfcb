"""Lowering (b): a typed tree -> a SQL condition (hard-parts §1, R2-R4; DESIGN.md says why it is not the obvious one).

One function, `lower(e, negate, on_error)`: SQL that is true exactly where (negate XOR e) is true, or where e is an error and
on_error is set. It never emits NOT or CASE over something that may be NULL; NULL itself only ever means "not true", because
negation is pushed down to the atoms. Everything that SQL cannot say faithfully raises Unsupported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from alyx.base.json import INT_MAX, INT_MIN
from alyx.database import tables
from alyx.rules import sql_json, tree
from alyx.rules.given import Given, Outcome
from alyx.rules.sql_forms import Operand, Sql, SqliteForms, Unsupported, both, compare, either, literal, not_true
from alyx.rules.sql_json import Json
from alyx.rules.tree import Expr
from alyx.rules.types import NUMBERS
from alyx.schema.model import Field

_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
LARGEST = 20_000
"""How many elements the SQL of one rule may have. A test of ?: stands in it twice, a compared condition four times, and so on
for what is inside: without a limit, 50 nodes of a client could become gigabytes of SQL."""
LARGEST_WHERE = 2_000
"""The same for a client's condition, which is lowered and compiled on the event loop: 20,000 take a third of a second."""
STEPS, STEPS_WHERE = 2_000, 300
"""How many conditions may be lowered on the way there."""
_IN_JSON = frozenset({"dyn", "null", "bool", "int", "double", "string", "list", "map"})
"""Kinds of values that stay what they are in a list that SQL sees as JSON."""
_BIND = {"bool": sa.INTEGER, "int": sa.INTEGER, "uint": sa.INTEGER, "duration": sa.INTEGER, "double": sa.REAL, "bytes": sa.BLOB}


class Atom(NamedTuple):
    """A comparison both ways round. ok: conditions without which it is an error; nullable: NULL is an error, too."""

    true: Sql
    false: Sql
    ok: tuple[Sql, ...] = ()
    nullable: bool = False


class Lowering:
    """Lowers one tree for one shape.

    column: how a field of `doc` is read: a table's column, or a parameter. outcomes: by a given part's bind (given.py).
    most: conditions that may be lowered.
    """

    def __init__(
        self,
        metadata: sa.MetaData,
        givens: Mapping[int, Given],
        outcomes: Mapping[str, Outcome],
        column: Callable[[Field], Sql],
        most: int = STEPS,
    ) -> None:
        self.metadata = metadata
        self.givens = givens
        self.outcomes = outcomes
        self.sources: dict[str, Callable[[Field], Sql]] = {"doc": column}
        self.locals: dict[str, Operand | Json] = {}
        self.steps, self.most = 0, most
        self.forms = SqliteForms()
        self.json = sql_json.JsonForms(self.forms)

    # Conditions ---------------------------------------------------------------------------------------------------------

    def lower(self, e: Expr, negate: bool = False, on_error: bool = False) -> Sql:
        """See the module's docstring. Raises Unsupported, also for what would become too large."""
        self.steps += 1
        if self.steps > self.most:
            raise too_large(e)
        given = self.givens.get(id(e))
        if given is not None and given.condition:
            return self._given_condition(given, negate, on_error)
        match e:
            case tree.Const():
                return sa.true() if e.value is not negate else sa.false()
            case tree.Not():
                return self.lower(e.operand, not negate, on_error)
            case tree.Logic():
                items = [self.lower(item, negate, on_error) for item in e.items]
                return both(*items) if e.conjunction is not negate else either(*items)
            case tree.Cond():
                if on_error:
                    return not_true(self.lower(e, not negate, False))
                return either(
                    both(self.lower(e.test), self.lower(e.yes, negate)),
                    both(self.lower(e.test, True), self.lower(e.no, negate)),
                )
            case tree.Exists():
                return self._exists(e, negate, on_error)
            case tree.Comprehension(kind="exists" | "all"):
                return self._quantified(e, negate, on_error)
        return _decided(self._atom(e), negate, on_error)

    def _given_condition(self, given: Given, negate: bool, on_error: bool) -> Sql:
        if not given.late:
            outcome = self.outcomes[given.bind]
            truth = on_error if outcome is None else outcome is not negate
            return sa.true() if truth else sa.false()
        bound = sa.bindparam(given.bind, type_=sa.INTEGER(), unique=False)
        if on_error:
            return bound.is_distinct_from(literal(1 if negate else 0))
        return bound == literal(0 if negate else 1)

    def _exists(self, e: tree.Exists, negate: bool, on_error: bool) -> Sql:
        table = self.metadata.tables[e.collection].alias()
        outer = dict(self.sources)
        self.sources[e.variable] = lambda field: table.c[field.name]
        inner = self.lower(e.predicate, False, on_error is not negate)
        self.sources = outer
        if isinstance(inner, sa.sql.elements.False_):
            return sa.true() if negate else sa.false()
        found = sa.exists(sa.select(sa.literal_column("1")).select_from(table).where(inner).correlate_except(table))
        return sa.not_(found) if negate else found

    def _quantified(self, e: tree.Comprehension, negate: bool, on_error: bool) -> Sql:
        """exists and all over a JSON list: like a collection's exists; `all(x, p)` is `!exists(x, !p)`."""
        if on_error:
            return not_true(self._quantified(e, not negate, False))
        source = self._whole(e.source)
        if isinstance(source, Operand) and source.kind not in ("list", "map"):
            return sa.false()
        ok, rows, element = self.json.unnested(source, e.source.type)
        every = e.kind == "all"
        absent = every is not negate
        outer = dict(self.locals)
        self.locals[e.variable] = element
        assert e.predicate is not None
        inner = self.lower(e.predicate, every, absent)
        self.locals = outer
        found = sa.exists(sa.select(sa.literal_column("1")).select_from(rows).where(inner).correlate_except(rows))
        return both(*ok, sa.not_(found) if absent else found)

    # Atoms --------------------------------------------------------------------------------------------------------------

    def _atom(self, e: Expr) -> Atom:
        match e:
            case tree.Equal():
                return self._equal(e)
            case tree.Order():
                return self._order(e)
            case tree.Contains():
                return self._contains(e)
            case tree.Present():
                return self._present(e)
        operand = self.value(e)
        if isinstance(operand, Json) and e.type.kind == "bool":
            operand = self.json.narrowed(operand, "bool")
        if isinstance(operand, Json) or operand.kind == "error":
            return _never()
        if isinstance(e, tree.Invoke):
            return Atom(operand.sql, sa.not_(operand.sql), operand.ok)
        return Atom(operand.sql == literal(1), operand.sql == literal(0), operand.ok, operand.nullable)

    def _equal(self, e: tree.Equal) -> Atom:
        if e.left.type.kind == "bool" and e.right.type.kind == "bool" and not (self._simple(e.left) and self._simple(e.right)):
            return self._same_truth(e)
        return self.same(self.value(e.left), self.value(e.right), e)

    def _simple(self, e: Expr) -> bool:
        """Whether a bool is a plain value: a column, a constant, a bound value."""
        return isinstance(e, tree.Column | tree.Const | tree.Narrow | tree.Local) or id(e) in self.givens

    def _same_truth(self, e: tree.Equal) -> Atom:
        for side in (e.left, e.right):
            if side.type.nullable:
                raise Unsupported(
                    "a nullable bool cannot be compared with a condition here", side.start, "write `doc.field == true`"
                )
        a, b = (self.lower(e.left), self.lower(e.left, True)), (self.lower(e.right), self.lower(e.right, True))
        same = either(both(a[0], b[0]), both(a[1], b[1]))
        differ = either(both(a[0], b[1]), both(a[1], b[0]))
        return Atom(same, differ, (), True)

    def same(self, a: Operand | Json, b: Operand | Json, e: Expr) -> Atom:
        """a == b for operands of any kinds."""
        if isinstance(a, Json) or isinstance(b, Json):
            if isinstance(a, Json) and isinstance(b, Json):
                raise Unsupported("two JSON values cannot be compared here", e.start, "turn one side into a plain field")
            one, other = (a, b) if isinstance(a, Json) else (b, a)
            assert isinstance(one, Json) and isinstance(other, Operand)  # noqa: PT018
            true = self.json.equal(one, other, e.start)
            return Atom(true, not_true(true), (*one.ok, *other.ok))
        ok = a.ok + b.ok
        if "error" in (a.kind, b.kind):
            return _never()
        if "null" in (a.kind, b.kind):
            other = b if a.kind == "null" else a
            if other.kind == "null":
                return Atom(sa.true(), sa.false(), ok)
            return Atom(other.sql.is_(None), other.sql.is_not(None), ok)
        if "decimal" in (a.kind, b.kind):
            return self._same_decimal(e, ok)
        left, right = self._aligned(a, b)
        if left is None or right is None:
            return Atom(*_both_null(a, b), ok)
        if {a.kind, b.kind} & {"list", "map"}:
            raise Unsupported("lists and maps cannot be compared here", e.start, "compare single values, or use `in` and size()")
        if not (a.nullable or b.nullable):
            return Atom(left == right, left != right, ok)
        true = left.is_not_distinct_from(right) if a.nullable and b.nullable else left == right
        return Atom(true, left.is_distinct_from(right), ok)

    def _aligned(self, a: Operand, b: Operand) -> tuple[Sql | None, Sql | None]:
        """Both sides in one form; None where the kinds can never be equal."""
        if a.kind == b.kind:
            return a.sql, b.sql
        kinds = {a.kind, b.kind}
        if kinds <= {"timestamp", "micros"}:
            return self.forms.moment(a), self.forms.moment(b)
        if kinds <= NUMBERS:
            double = "double" in kinds
            return (sa.cast(a.sql, sa.REAL()), sa.cast(b.sql, sa.REAL())) if double else (a.sql, b.sql)
        return None, None

    def _order(self, e: tree.Order) -> Atom:
        a, b = self.value(e.left), self.value(e.right)
        if isinstance(a, Json) and isinstance(b, Json):
            raise Unsupported("two JSON values cannot be ordered here", e.start, "turn one side into a plain field")
        if isinstance(a, Json) or isinstance(b, Json):
            one, other, sign = (a, b, e.sign) if isinstance(a, Json) else (b, a, _FLIPPED[e.sign])
            assert isinstance(one, Json) and isinstance(other, Operand)  # noqa: PT018
            ordered = self.json.order(one, sign, other)
            if ordered is None:
                return _never()
            return Atom(*ordered[:2], (*one.ok, *other.strict, ordered[2]))
        if {"error", "null"} & {a.kind, b.kind}:
            return _never()
        ok, nullable = a.ok + b.ok, a.nullable or b.nullable
        if "decimal" in (a.kind, b.kind):
            true = self._decimal(e, e.sign)
            return Atom(true, self._decimal(e, _OPPOSITE[e.sign]), ok, nullable)
        left, right = self._aligned(a, b)
        if left is None or right is None or a.kind in ("list", "map", "null"):
            return _never()
        return Atom(compare(left, e.sign, right), compare(left, _OPPOSITE[e.sign], right), ok, nullable)

    def _present(self, e: tree.Present) -> Atom:
        operand = self.value(e.operand)
        if not isinstance(operand, Json):
            raise Unsupported("has() cannot be used here on what is no JSON field", e.start)
        found = operand.at(self.json.step(e.key, e.start))
        kind = self.json.kind(operand)
        return Atom(self.json.kind(found).is_not(None), self.json.kind(found).is_(None), (*operand.ok, kind == literal("object")))

    # Decimals -----------------------------------------------------------------------------------------------------------

    def _same_decimal(self, e: Expr, ok: tuple[Sql, ...]) -> Atom:
        assert isinstance(e, tree.Equal)
        true = self._decimal(e, "==")
        if e.left.type.nullable and e.right.type.nullable:
            true = either(true, both(*(self._plain(side).sql.is_(None) for side in (e.left, e.right))))
        return Atom(true, not_true(true), ok)

    def _plain(self, e: Expr) -> Operand:
        operand = self.value(e)
        if isinstance(operand, Json):
            raise Unsupported("a JSON value cannot be used here", e.start)
        return operand

    def _decimal(self, e: tree.Equal | tree.Order, sign: str) -> Sql:
        """Exact comparison of scaled integers. The finer side is split by division: lifting the coarser could leave 64 bit."""
        left, right = e.left, e.right
        if left.type.scale > right.type.scale:
            left, right, sign = right, left, _FLIPPED.get(sign, sign)
        factor = 10 ** (right.type.scale - left.type.scale)
        a = self._scaled(left)
        if isinstance(left, tree.Const) and abs(left.value * factor) <= INT_MAX:
            return compare(literal(left.value * factor), sign, self._scaled(right))
        if factor == 1:
            return compare(a, sign, self._scaled(right))
        if isinstance(right, tree.Const):
            quotient, rest = abs(right.value) // factor, abs(right.value) % factor
            if right.value < 0:
                quotient, rest = -quotient, -rest
            return _split(a, sign, literal(quotient), rest == 0, rest > 0, rest < 0)
        b = self._scaled(right)
        q, r = b.op("/", return_type=sa.INTEGER())(literal(factor)), b.op("%", return_type=sa.INTEGER())(literal(factor))
        return _split(a, sign, q, r == literal(0), r > literal(0), r < literal(0))

    def _scaled(self, e: Expr) -> Sql:
        if isinstance(e, tree.Const):
            if abs(e.value) > INT_MAX:
                raise Unsupported("a decimal literal is beyond 64 bit", e.start)
            return literal(e.value)
        sql = self._plain(e).sql
        return tables.exact_order(sql) if e.type.kind == "decimal" else sql

    # Membership ---------------------------------------------------------------------------------------------------------

    def _contains(self, e: tree.Contains) -> Atom:
        item = self.value(e.item)
        if not isinstance(item, Json) and item.kind == "error":
            return _never()
        if isinstance(e.container, tree.ListOf) and id(e.container) not in self.givens:
            return self._in_list(e, item, e.container)
        if isinstance(item, Json):
            raise Unsupported("a JSON value cannot be looked for here", e.start, "compare it with single values")
        container = self._whole(e.container)
        if not isinstance(container, Json) and container.kind not in ("list", "map"):
            return _never()
        ok, true = self.json.holds(container, item)
        return Atom(true, not_true(true), (*item.ok, *ok))

    def _whole(self, e: Expr) -> Operand | Json:
        """A list or map that SQL looks into."""
        if e.type.item and e.type.item.kind not in _IN_JSON:
            raise Unsupported(f"a {e.type} cannot be looked into here", e.start, "compare with each value")
        return self.value(e)

    def _in_list(self, e: tree.Contains, item: Operand | Json, container: tree.ListOf) -> Atom:
        others = [self.value(each) for each in container.items]
        ok = item.ok
        plain: list[Sql] = []
        tests: list[Sql] = []
        for other in others:
            ok += other.ok
            if isinstance(item, Operand) and isinstance(other, Operand) and item.kind == other.kind and not other.nullable:
                plain.append(other.sql)
            else:
                atom = self.same(item, other, e)
                tests.append(atom.true)
                ok += atom.ok
        if plain and isinstance(item, Operand):
            tests.append(item.sql.in_(plain) if len(plain) > 1 else item.sql == plain[0])
        true = either(*tests) if tests else sa.false()
        return Atom(true, not_true(true), tuple(dict.fromkeys(ok)))

    # Values -------------------------------------------------------------------------------------------------------------

    def value(self, e: Expr) -> Operand | Json:
        """The operand of an expression."""
        given = self.givens.get(id(e))
        if given is not None:
            return self._bound(given)
        match e:
            case tree.Const():
                if isinstance(e.value, int) and not INT_MIN <= e.value <= INT_MAX:
                    raise Unsupported("a number beyond 64 bit cannot be used here", e.start)
                if isinstance(e.value, str) and "\0" in e.value:  # SQLite's length() would end there; no record holds one
                    raise Unsupported("a text with NUL cannot be used here", e.start)
                return Operand(literal(e.value), e.type.kind, (), e.value is None, e.value)
            case tree.Column():
                return self._column(e)
            case tree.Local():
                return self.locals[e.name]
            case tree.Widen():
                return self.value(e.operand)
            case tree.Member():
                return self._member(e)
            case tree.Narrow():
                return self.json.narrowed(self.value(e.operand), e.type.kind)
            case tree.Cond():
                return self._chosen(e)
            case tree.Invoke():
                return self._call(e)
            case tree.Dynamic(name="size"):
                return self.json.size(self.value(e.args[0]), e.start)
            case tree.Dynamic():
                hint = "convert or compare it with a value of one type"
                raise Unsupported(f"{e.name}() of a JSON value cannot be used here", e.start, hint)
            case tree.Comprehension():
                raise Unsupported(f"{e.kind}() cannot be used here", e.start, "exists() and all() can")
        if e.type.kind != "bool":
            raise Unsupported("a list or map literal cannot be used here", e.start)
        return self._truth(e)

    def _truth(self, e: Expr) -> Operand:
        """A condition as a value."""
        yes, no = self.lower(e), self.lower(e, True)
        sql = sa.case((yes, literal(1)), (no, literal(0)), else_=sa.null())
        return Operand(sql, "bool", (sql.is_not(None),))

    def _bound(self, given: Given) -> Operand:
        kind: Any = given.expr.type.kind
        if given.late:
            if kind in ("dyn", "list", "map") or given.expr.type.nullable:
                raise Unsupported("this part of the request cannot be used in a rule that SQL judges", given.expr.start)
            bound = sa.bindparam(given.bind, type_=_BIND.get(kind, sa.TEXT)(), unique=False)
            plain = isinstance(given.expr, tree.Request)
            return Operand(bound, kind, () if plain else (bound.is_not(None),))
        kind = self.outcomes[given.bind]
        if given.condition and kind is not None:
            return Operand(literal(kind), "bool", constant=kind)
        if given.condition:
            kind = "error"
        if kind in ("error", "null", "type"):
            return Operand(sa.null(), "error" if kind == "type" else kind, (sa.false(),) if kind != "null" else (), True)
        return Operand(sa.bindparam(given.bind, type_=_BIND.get(kind, sa.TEXT)(), unique=False), kind)

    def _column(self, e: tree.Column) -> Operand | Json:
        sql = self.sources[e.source](e.field)
        if e.type.kind == "dyn":
            return Json(sql)
        return Operand(sql, e.type.kind, (), e.type.nullable)

    def _member(self, e: tree.Member) -> Operand | Json:
        operand, key = self.value(e.operand), self.value(e.key)
        if isinstance(operand, Operand):
            if operand.kind != "list":
                raise Unsupported("what is no JSON field has no members here", e.start)
            operand = Json(operand.sql, ok=operand.strict)
        if isinstance(key, Json) or not isinstance(key.constant, str | int) or isinstance(key.constant, bool):
            raise Unsupported("a key that is no constant cannot be used here", e.start, "write the key itself")
        found = operand.at(self.json.step(key.constant, e.start))
        found = found._replace(ok=(*found.ok, self.json.kind(found).is_not(None)))
        return found if e.type.kind == "dyn" else Operand(self.json.of(found), e.type.kind, found.ok)

    def _chosen(self, e: tree.Cond) -> Operand:
        test, other = self.lower(e.test), self.lower(e.test, True)
        yes, no = self.value(e.yes), self.value(e.no)
        if isinstance(yes, Json) or isinstance(no, Json) or e.type.kind in ("dyn", "list", "map"):
            raise Unsupported("?: between JSON values cannot be used here", e.start, "compare inside the branches")
        sides = [self.forms.moment(item) if e.type.kind == "timestamp" else item.sql for item in (yes, no)]
        sql = sa.case((test, sides[0]), (other, sides[1]), else_=sa.null())
        ok = either(both(test, *yes.ok), both(other, *no.ok))
        kind = "micros" if e.type.kind == "timestamp" else e.type.kind
        return Operand(
            sa.type_coerce(sql, _BIND.get(kind, sa.INTEGER if kind == "micros" else sa.TEXT)()), kind, (ok,), e.type.nullable
        )

    def _call(self, e: tree.Invoke) -> Operand:
        function = e.function
        if function.sql is None:
            shown = "`" + function.name.strip("_") + "`" if "_" in function.name[:1] else f"{function.name}()"
            raise Unsupported(f"{shown} of {', '.join(function.params)} cannot be used here", e.start, "SQL has no such function")
        args = [self._plain(item) for item in e.args]
        if any(item.kind == "error" or (item.kind == "null" and function.sql != "mixed") for item in args):
            return Operand(sa.null(), "error", (sa.false(),), True)
        try:
            return self.forms.call(function.sql, args, function, e.start)
        except Unsupported as error:
            raise Unsupported(error.message, error.start or e.start, error.hint) from None


def too_large(e: Expr) -> Unsupported:
    """The refusal of a rule that is small as a text and huge as SQL."""
    return Unsupported("this condition becomes too large in SQL", e.start, "nest ?: and comparisons of conditions less")


def size(element: sa.ClauseElement) -> int:
    """How many elements the text of a condition will have; parts that stand in it twice count twice."""
    known: dict[int, int] = {}

    def count(each: Any) -> int:
        if id(each) not in known:
            known[id(each)] = 1 + sum(count(child) for child in each.get_children())
        return known[id(each)]

    return count(element)


def _never() -> Atom:
    """Always an error."""
    return Atom(sa.false(), sa.false(), (sa.false(),))


def _both_null(a: Operand, b: Operand) -> tuple[Sql, Sql]:
    """Of two kinds that share no value but null."""
    if not (a.nullable and b.nullable):
        return sa.false(), sa.true()
    neither = both(a.sql.is_(None), b.sql.is_(None))
    return neither, not_true(neither)


def _decided(atom: Atom, negate: bool, on_error: bool) -> Sql:
    if on_error and (atom.ok or atom.nullable):
        return not_true(_decided(atom, not negate, False))
    return both(*atom.ok, atom.false if negate else atom.true)


def _split(a: Sql, sign: str, q: Sql, even: Sql | bool, above: Sql | bool, below: Sql | bool) -> Sql:
    """a <sign> q + r/k, |r| < k, where r has the sign of the whole (SQL and C divide toward zero)."""

    def sql(condition: Sql | bool) -> Sql:
        return condition if not isinstance(condition, bool) else sa.true() if condition else sa.false()

    if sign == "==":
        return both(a == q, sql(even))
    rest = {"<": (above,), "<=": (above, even), ">": (below,), ">=": (below, even)}[sign]
    outside = a < q if sign in ("<", "<=") else a > q
    return either(outside, both(a == q, either(*(sql(item) for item in rest))))
