"""How rules use the caller: which fields of `auth` are only ever tested for equality with values of records.

Read by `audience`, once per rule; a single walk over the typed tree, which decides nothing about verdicts. What it does not know
to be such an equality counts as "used otherwise", so a form that it has never seen splits classes, and is never wrong.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from alyx.rules import tree, types
from alyx.rules.tree import Expr

MOST = 8
"""Alternatives of one `exists` that are followed one by one: each is a question of its own about every change."""


@dataclass(frozen=True)
class Place:
    """A column of `doc` whose values a field of the caller is compared with; is_list: with each element of the value."""

    column: str
    is_list: bool


@dataclass(eq=False)
class Lookup:
    """One `collections.c.exists(...)`, or one of the alternatives in it: `exists(m, A || B)` is `exists(m, A) || exists(m, B)`.

    term: the conjuncts that a row must meet. by_auth: column of c -> field of the caller, of those of them that are
        `m.column == auth.field`. rest: the others.
    positive: whether an error in it is as good as false.
    outer: the lookups around it, and in which of their conjuncts it stands.
    """

    node: tree.Exists
    term: list[Expr]
    positive: bool
    outer: tuple[tuple[Lookup, Expr], ...] = ()
    by_auth: dict[str, str] = field(default_factory=dict)
    rest: list[Expr] = field(default_factory=list)


class Uses:
    """What some rules do with the caller.

    places, constants: per field what it is compared with by == and `in`. otherwise: the fields that are used in another way, too.
    json: the json fields that the caller is compared with something below of; that counts as one with all texts in them.
    """

    def __init__(self) -> None:
        self.json: set[str] = set()
        self.places: dict[str, dict[str, bool]] = {}
        self.constants: dict[str, set[str]] = {}
        self.otherwise: set[str] = set()

    def read(self, rule: Expr) -> list[Lookup]:
        """Add a rule; returns its lookups into other collections, those inside others included."""
        walk = _Walk(self)
        walk.visit(rule, positive=True)
        return walk.lookups


class _Walk:
    def __init__(self, uses: Uses) -> None:
        self.uses = uses
        self.locals: Mapping[str, Place | None] = {}
        """Variable of a macro -> the list column that it walks over; None where it walks over anything else."""
        self.around: tuple[tuple[Lookup, Expr], ...] = ()
        self.lookups: list[Lookup] = []

    def visit(self, e: Expr, *, positive: bool = False) -> None:
        """positive: an error of e is as good as false (lowering: on_error and negate are both off)."""
        match e:
            case tree.Auth():
                self.uses.otherwise.add(e.name)
            case tree.Logic():
                for item in e.items:
                    self.visit(item, positive=positive)
            case tree.Cond():
                self.visit(e.test)
                self.visit(e.yes, positive=positive)
                self.visit(e.no, positive=positive)
            case tree.Equal():
                if not (self.equal(e.left, e.right) or self.equal(e.right, e.left)):
                    self.inside(e)
            case tree.Contains():
                self.contains(e)
            case tree.Comprehension():
                self.macro(e)
            case tree.Exists():
                self.lookup(e, positive)
            case _:
                self.inside(e)

    def inside(self, e: Expr) -> None:
        for part in e.parts():
            self.visit(part)

    # Equality -----------------------------------------------------------------------------------------------------------

    def equal(self, caller: Expr, other: Expr) -> bool:
        """Note `auth.x == other` if that is all it is."""
        caller, other = _bare(caller), _bare(other)
        if not isinstance(caller, tree.Auth) or caller.type.kind != "string":
            return False
        if isinstance(other, tree.Const):
            if isinstance(other.value, str):
                self.uses.constants.setdefault(caller.name, set()).add(other.value)
            return True
        place = self.place(other)
        if place is not None:
            self.note(caller.name, place)
        return place is not None

    def note(self, name: str, place: Place) -> None:
        known = self.uses.places.setdefault(name, {})
        known[place.column] = known.get(place.column, False) or place.is_list

    def place(self, e: Expr) -> Place | None:
        """The column of `doc` that a value comes from: as it stands there, or as one of the texts in it."""
        match e:
            case tree.Column(source="doc") if e.type.kind == "string":
                return Place(e.field.name, is_list=False)
            case tree.Local() if e.type.kind in ("string", "dyn"):
                return self.locals[e.name]
            case tree.Member(operand=operand, key=tree.Const() | tree.Widen(operand=tree.Const())):
                return self.items(operand)
        return self.below_json(e)

    def items(self, e: Expr) -> Place | None:
        """The column of `doc` that a list of texts is, or something below a json field."""
        if isinstance(e, tree.Column) and e.source == "doc" and e.type.kind == "list" and e.type.item == types.STRING:
            return Place(e.field.name, is_list=True)
        return self.below_json(e)

    def below_json(self, e: Expr) -> Place | None:
        if e.type.kind != "dyn":
            return None
        match e:
            case tree.Column(source="doc"):
                self.uses.json.add(e.field.name)
                return Place(e.field.name, is_list=True)
            case tree.Local():
                return self.locals[e.name]
            case tree.Member(operand=operand, key=tree.Const() | tree.Widen(operand=tree.Const())):
                return self.below_json(operand)
        return None

    def contains(self, e: tree.Contains) -> None:
        """`auth.x in doc.list`, `auth.x in [doc.a, 'b']`, `doc.a in [auth.x, 'b']`: so many equalities."""
        if isinstance(e.container, tree.ListOf):
            for item in e.container.items:
                if not (self.equal(e.item, item) or self.equal(item, e.item)):
                    self.visit(e.item)
                    self.visit(item)
            if not e.container.items:
                self.visit(e.item)
            return
        caller, place = _bare(e.item), self.items(_bare(e.container))
        if place is not None and isinstance(caller, tree.Auth) and caller.type.kind == "string":
            self.note(caller.name, place)
        else:
            self.inside(e)

    # Macros and other collections ---------------------------------------------------------------------------------------

    def macro(self, e: tree.Comprehension) -> None:
        self.visit(e.source)
        outer = self.locals
        self.locals = {**outer, e.variable: self.items(e.source)}
        for part in (e.predicate, e.transform):
            if part is not None:
                self.visit(part)
        self.locals = outer

    def lookup(self, e: tree.Exists, positive: bool) -> None:
        # One inside another multiplies them: a rule that nests too many is followed as it stands.
        terms = alternatives(e.predicate) if len(self.lookups) < MOST * MOST else [_joined(e.predicate)]
        for term in terms:
            self.alternative(Lookup(e, term, positive, self.around))

    def alternative(self, found: Lookup) -> None:
        self.lookups.append(found)
        around = self.around
        for conjunct in found.term:
            pair = _of_row(conjunct, found.node.variable)
            if pair is not None and pair[0] not in found.by_auth:
                found.by_auth[pair[0]] = pair[1]
                continue
            found.rest.append(conjunct)
            self.around = (*around, (found, conjunct))
            self.visit(conjunct, positive=found.positive)
        self.around = around


def _bare(e: Expr) -> Expr:
    return e.operand if isinstance(e, tree.Widen) else e


def alternatives(e: Expr) -> list[list[Expr]]:
    """A condition as an OR of ANDs; just one, of what stands there joined by &&, where that would be more than MOST.

    && and || distribute over each other in CEL's logic with errors as they do without.
    """
    if not isinstance(e, tree.Logic):
        return [[e]]
    parts = [alternatives(item) for item in e.items]
    if not e.conjunction:
        found = [term for part in parts for term in part]
    elif math.prod(len(part) for part in parts) <= MOST:
        found = [[item for term in terms for item in term] for terms in itertools.product(*parts)]
    else:
        found = []
    return found if 0 < len(found) <= MOST else [_joined(e)]


def _joined(e: Expr) -> list[Expr]:
    if isinstance(e, tree.Logic) and e.conjunction:
        return [part for item in e.items for part in _joined(item)]
    return [e]


def _of_row(e: Expr, variable: str) -> tuple[str, str] | None:
    """(column, field of the caller) of `m.column == auth.field`."""
    if isinstance(e, tree.Equal):
        for caller, other in ((e.left, e.right), (e.right, e.left)):
            mine = isinstance(other, tree.Column) and other.source == variable and other.type.kind == "string"
            if mine and isinstance(caller, tree.Auth) and isinstance(other, tree.Column) and caller.type.kind == "string":
                return other.field.name, caller.name
    return None
