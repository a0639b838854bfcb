"""Lowering (a): a typed tree -> one generated Python function.

A boolean expression becomes statements that leave True, False or None (an error) in a variable; a value expression becomes a
Python expression that raises on an error, inside the `try` of the comparison that needs it. So an error travels as CEL says:
`&&` and `||` absorb it from either side, everything else hands it on. The text is made from the checked tree alone; every name
and constant in it goes through repr() or is one of ours.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any, TypeAlias

from alyx.rules import tree, values
from alyx.rules.functions import MIXED, dynamic
from alyx.rules.tree import Expr

Judge: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], Any]
"""(auth, doc, request) -> result."""

_NAMES: dict[str, Any] = {
    function.__name__: function
    for function in (
        *(values.equal, values.before, values.not_after, values.contains, values.member, values.present, values.map_of),
        *(
            values.items_of,
            values.integer,
            values.finite,
            values.narrow,
            values.wrapped,
            values.scaled,
            values.truth,
            values.some,
            values.fault,
            values.without_nulls,
        ),
        dynamic,
    )
} | {"decode": lambda text: None if text is None else base64.b64decode(text)}
_PLAIN = frozenset({"bool", "int", "uint", "string", "bytes", "timestamp", "duration", "double", "type"})
"""Kinds whose equality is Python's own, as long as both sides have the same kind."""


def verdict(expr: Expr) -> Judge:
    """The function that gives True, False, or None for an error. Raises ValueError for a tree that looks elsewhere."""
    writer = _Writer()
    result = writer.verdict(expr)
    return writer.function(result)


def value(expr: Expr) -> Judge:
    """The function that gives the value, and raises on an error."""
    writer = _Writer()
    result = writer.value(expr)
    return writer.function(result)


def _compiled(text: str) -> CodeType:
    try:
        return compile(text, "<rule>", "exec")
    except (SyntaxError, MemoryError, RecursionError) as error:  # Python allows 20 loops and 100 indents inside each other
        raise ValueError("nested too deep") from error


class _Writer:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.indent = 1
        self.counter = itertools.count()
        self.globals: dict[str, Any] = dict(_NAMES)
        self.auth: dict[str, None] = {}
        self.locals: dict[str, str] = {}
        """Variable of a macro -> its name in Python. A macro inside may use the same one, so each has a name of its own."""
        self.guards: dict[str, None] | None = None
        """Caller's fields that the comparison at hand cannot do without; None where a null must be raised instead."""

    def function(self, result: str) -> Judge:
        read = {name: f"auth.get({name!r})" for name in self.auth}
        if "claims" in read:
            read["claims"] = f"without_nulls({read['claims']})"
        prelude = [f"    auth_{name} = {text}" for name, text in read.items()]
        text = "\n".join(["def judge(auth, doc, request):", *prelude, *self.lines, f"    return {result}"])
        exec(_compiled(text), self.globals)  # noqa: S102 - our own text, see the module's docstring
        found: Judge = self.globals["judge"]
        return found

    # Writing ------------------------------------------------------------------------------------------------------------

    def put(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)

    def new(self) -> str:
        return f"v{next(self.counter)}"

    def const(self, value: Any) -> str:
        if value is None or type(value) in (bool, int, str, bytes, float):
            return f"({value!r})" if type(value) in (int, float) else repr(value)
        name = f"k{next(self.counter)}"
        self.globals[name] = value
        return name

    # Verdicts -----------------------------------------------------------------------------------------------------------

    def verdict(self, expr: Expr) -> str:
        outer, self.guards = self.guards, None
        match expr:
            case tree.Logic():
                result = self.logic(expr)
            case tree.Not():
                inner = self.verdict(expr.operand)
                result = self.new()
                self.put(f"{result} = None if {inner} is None else not {inner}")
            case tree.Cond():
                result = self.branch(expr)
            case tree.Comprehension(kind="exists" | "all"):
                result = self.quantified(expr)
            case _:
                result = self.atom(expr)
        self.guards = outer
        return result

    def logic(self, expr: tree.Logic) -> str:
        """Flat: the result so far is looked at before each further item."""
        decisive, neutral = ("False", "True") if expr.conjunction else ("True", "False")
        result = self.new()
        for number, item in enumerate(expr.items):
            if number:
                self.put(f"if {result} is not {decisive}:")
                self.indent += 1
            found = self.verdict(item)
            if number:
                self.put(f"if {found} is not {neutral}: {result} = {found}")
                self.indent -= 1
            else:
                self.put(f"{result} = {found}")
        return result

    def branch(self, expr: tree.Cond) -> str:
        result, test = self.new(), self.verdict(expr.test)
        self.put(f"{result} = None")
        for condition, part in ((f"if {test}:", expr.yes), (f"elif {test} is False:", expr.no)):
            self.put(condition)
            self.indent += 1
            self.put(f"{result} = {self.verdict(part)}")
            self.indent -= 1
        return result

    def quantified(self, expr: tree.Comprehension) -> str:
        decisive, neutral = ("True", "False") if expr.kind == "exists" else ("False", "True")
        result, items = self.new(), self.new()
        self.attempt(lambda: f"items_of({self.value(expr.source)})", items)
        self.put(f"{result} = None if {items} is None else {neutral}")
        outer, self.locals = self.locals, self.locals | {expr.variable: self.new()}
        self.put(f"for {self.local(expr.variable)} in {items} or ():")
        self.indent += 1
        assert expr.predicate is not None
        found = self.verdict(expr.predicate)
        self.locals = outer
        self.put(f"if {found} is not {neutral}: {result} = {found}")
        self.put(f"if {found} is {decisive}: break")
        self.indent -= 1
        return result

    def atom(self, expr: Expr) -> str:
        result = self.new()
        start, self.guards = len(self.lines), {}
        wrap = "truth({})" if expr.type.kind == "dyn" else "{}"
        self.attempt(lambda: wrap.format(self.value(expr)), result)
        if self.guards:
            missing = " or ".join(f"auth_{name} is None" for name in self.guards)
            pad = "    " * self.indent
            inner = ["    " + line for line in self.lines[start:]]
            self.lines[start:] = [f"{pad}if {missing}: {result} = None", f"{pad}else:", *inner]
        return result

    def attempt(self, make: Callable[[], str], result: str) -> None:
        """`result = <made>`, None if that raises. Python's own errors (None < 1) are CEL errors just as well."""
        self.put("try:")
        self.indent += 1
        self.put(f"{result} = {make()}")
        self.indent -= 1
        self.put("except Exception:")
        self.put(f"    {result} = None")

    # Values -------------------------------------------------------------------------------------------------------------

    def value(self, expr: Expr) -> str:
        match expr:
            case tree.Const():
                return self.const(expr.value)
            case tree.Local():
                return self.local(expr.name)
            case tree.Column():
                return self.column(expr)
            case tree.Auth():
                return self.caller(expr.name)
            case tree.AuthPresent():
                self.auth[expr.name] = None
                return f"(auth_{expr.name} is not None)"
            case tree.Request():
                return f"request[{expr.name!r}]"
            case tree.Member():
                return f"member({self.value(expr.operand)}, {self.value(expr.key)})"
            case tree.Present():
                return f"present({self.value(expr.operand)}, {expr.key!r})"
            case tree.Equal():
                return self.equal(expr)
            case tree.Order():
                return self.order(expr)
            case tree.Contains():
                return self.contains(expr)
            case tree.Invoke():
                return self.invoke(expr)
            case tree.Dynamic():
                return f"dynamic({expr.name!r}, {expr.member}, {', '.join(map(self.value, expr.args))})"
            case tree.Narrow():
                return f"narrow({self.value(expr.operand)}, {expr.type.kind!r})"
            case tree.Widen():
                return self.widen(expr.operand)
            case tree.ListOf():
                return f"[{', '.join(map(self.widen, expr.items))}]"
            case tree.MapOf():
                found = [self.value(item) for item in expr.items]
                pairs = ", ".join(f"({key}, {item})" for key, item in zip(found[::2], found[1::2], strict=True))
                return f"map_of([{pairs}])"
            case tree.Cond():
                return self.chosen(expr)
            case tree.Comprehension() if expr.kind not in ("exists", "all"):
                return self.gathered(expr)
            case tree.Exists():
                raise ValueError("looks into another collection")
        return self.decided(expr)

    def local(self, name: str) -> str:
        return self.locals[name]

    def column(self, expr: tree.Column) -> str:
        found = f"doc[{expr.field.name!r}]"
        return f"decode({found})" if expr.type.kind == "bytes" else found

    def caller(self, name: str) -> str:
        self.auth[name] = None
        if self.guards is None:
            self.put(f"if auth_{name} is None: fault('null')")
        else:
            self.guards[name] = None
        return f"auth_{name}"

    def decided(self, expr: Expr) -> str:
        """A condition as an operand: an error in it is one here."""
        result = self.verdict(expr)
        self.put(f"if {result} is None: fault('error')")
        return result

    def widen(self, expr: Expr) -> str:
        kind = expr.type.kind
        return f"wrapped({self.value(expr)}, {kind!r})" if kind in ("timestamp", "duration") else self.value(expr)

    def equal(self, expr: tree.Equal) -> str:
        kinds = {expr.left.type.kind, expr.right.type.kind}
        if "decimal" in kinds:
            return f"({' == '.join(self.scaled(expr))})"
        pair = self.value(expr.left), self.value(expr.right)
        return f"({pair[0]} == {pair[1]})" if kinds - {"null"} <= _PLAIN else f"equal({pair[0]}, {pair[1]})"

    def order(self, expr: tree.Order) -> str:
        kinds = {expr.left.type.kind, expr.right.type.kind}
        if "decimal" in kinds:
            return f"({f' {expr.sign} '.join(self.scaled(expr))})"
        left, right = self.value(expr.left), self.value(expr.right)
        if "dyn" not in kinds:
            return f"({left} {expr.sign} {right})"
        if expr.sign in (">", ">="):
            left, right = right, left
        return f"{'before' if expr.sign in '<>' else 'not_after'}({left}, {right})"

    def scaled(self, expr: tree.Equal | tree.Order) -> tuple[str, str]:
        """Both sides as ints of one scale."""
        scale = max(expr.left.type.scale, expr.right.type.scale)

        def side(item: Expr) -> str:
            factor = 10 ** (scale - item.type.scale)
            if isinstance(item, tree.Const):
                return self.const(None if item.value is None else item.value * factor)
            if item.type.kind == "decimal":
                return f"scaled({self.value(item)}, {factor})"
            return f"scaled_int({self.value(item)}, {factor})"

        self.globals["scaled_int"] = _scaled_int
        return side(expr.left), side(expr.right)

    def contains(self, expr: tree.Contains) -> str:
        container = expr.container
        if isinstance(container, tree.ListOf) and expr.item.type.kind in _PLAIN:
            if all(isinstance(item, tree.Const) for item in container.items):
                constant = self.const(tuple(item.value for item in container.items if isinstance(item, tree.Const)))
                return f"({self.value(expr.item)} in {constant})"
            items = "".join(f"{self.value(item)}, " for item in container.items)
            return f"({self.value(expr.item)} in ({items}))"
        return f"contains({self.value(expr.item)}, {self.value(container)})"

    def invoke(self, expr: tree.Invoke) -> str:
        args = [self.value(item) for item in expr.args]
        inline = expr.function.inline
        if expr.function is not MIXED and inline in (None, "{0}"):
            # Operators and methods raise on None by themselves; our own functions may not.
            args = [f"some({arg})" if item.type.nullable else arg for arg, item in zip(args, expr.args, strict=True)]
        if inline is not None:
            return inline.format(*args)
        return f"{self.const(expr.function.call)}({', '.join(args)})"

    def chosen(self, expr: tree.Cond) -> str:
        test, result = self.decided(expr.test), self.new()
        for condition, part in ((f"if {test}:", expr.yes), ("else:", expr.no)):
            self.put(condition)
            self.indent += 1
            outer, self.guards = self.guards, None
            self.put(f"{result} = {self.value(part)}")
            self.guards = outer
            self.indent -= 1
        return result

    def gathered(self, expr: tree.Comprehension) -> str:
        """filter, map and exists_one: an error in any step is one of the whole."""
        result, variable, source = self.new(), self.new(), self.value(expr.source)
        named, self.locals = self.locals, self.locals | {expr.variable: variable}
        self.put(f"{result} = []")
        self.put(f"for {variable} in items_of({source}):")
        self.indent += 1
        outer, self.guards = self.guards, None
        if expr.predicate is not None:
            self.put(f"if not {self.decided(expr.predicate)}: continue")
        self.put(f"{result}.append({self.widen(expr.transform) if expr.transform else variable})")
        self.guards, self.locals = outer, named
        self.indent -= 1
        return f"(len({result}) == 1)" if expr.kind == "exists_one" else result


def _scaled_int(value: int | None, factor: int) -> int | None:
    return None if value is None else value * factor
