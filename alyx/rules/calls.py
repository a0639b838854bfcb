"""Calls of functions in rules: which one is meant, by name and types, and what a call on constants gives.

Called by `check` alone, with arguments that are typed already. Raises CheckError for a call that cannot stand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from alyx.rules import functions, syntax, tree, types
from alyx.rules.functions import Function
from alyx.rules.literals import CheckError, widen
from alyx.rules.syntax import Call
from alyx.rules.tree import Expr
from alyx.rules.types import DYN, Type
from alyx.rules.values import Beyond, Fault
from alyx.schema import yaml


def is_conversion(node: Call) -> bool:
    """Whether it is `dyn(x)` or `type(x)`, which take a value of any type."""
    return node.function in ("dyn", "type") and node.target is None and len(node.args) == 1


def check_name(node: Call) -> None:
    """Raises CheckError if there is no function of that name."""
    if node.function not in functions.TABLE:
        known = [item for item in functions.TABLE if not item.startswith(("_", "-"))]
        hint = yaml.did_you_mean(node.function, known) or "docs/rules.md lists the functions"
        raise CheckError(f"unknown function `{node.function}`", node.start, hint)


@dataclass(frozen=True)
class Calls:
    """What calls may do in one text; loose and internal are those of check.Scope."""

    loose: bool
    internal: bool

    def resolve(self, node: Call, args: tuple[Expr, ...]) -> Expr:
        """A call of the function that takes these arguments, the one it is called on first among them."""
        name, member = node.function, node.target is not None
        fitting = [item for item in functions.candidates(name, len(args), member) if _fits(item, args)]
        if not fitting:
            raise _no_overload(node, args)
        if len(fitting) == 1:
            return self._resolved(node, fitting[0], args)
        results = {item.result for item in fitting}
        result = types.BY_NAME[results.pop()] if len(results) == 1 else DYN
        return tree.Dynamic(result, node.start, node.end, name, member, tuple(widen(item) for item in args))

    def convert(self, node: Call, arg: Expr) -> Expr:
        """`dyn(x)` or `type(x)`."""
        if node.function == "dyn":
            if not self.loose:
                raise CheckError("dyn() cannot be used in rules", node.start, "types are static here")
            return widen(arg)
        if arg.type.kind != "dyn" and not arg.type.nullable:
            return tree.Const(types.TYPE, node.start, node.end, functions.type_name(arg.type.kind))
        if arg.type.kind == "null":
            return tree.Const(types.TYPE, node.start, node.end, functions.type_name("null"))
        return tree.Dynamic(types.TYPE, node.start, node.end, "type", False, (widen(arg),))

    def _resolved(self, node: Call, function: Function, args: tuple[Expr, ...]) -> Expr:
        given = tuple(_narrowed(item, kind) for item, kind in zip(args, function.params, strict=True))
        result = types.BY_NAME[function.result]
        if function.result == "list":
            result = types.join(given[0].type, given[1].type) or types.LIST
        result = replace(result, nullable=result.kind == "dyn")
        if function.name == "matches" and isinstance(given[1], tree.Const):
            try:
                functions.pattern(given[1].value)
            except Fault as error:
                if not self.loose:
                    raise CheckError(str(error), given[1].start, "RE2 syntax") from None
        self._check_zone(function, given)
        if not self.internal and function.name in ("contains", "indexOf"):
            _check_needle(given[1])
        if given and all(isinstance(item, tree.Const) for item in given):
            return self._folded(node, function, given, result)
        return tree.Invoke(result, node.start, node.end, function, given)

    def _check_zone(self, function: Function, args: tuple[Expr, ...]) -> None:
        if function.params[:2] == ("timestamp", "string") and isinstance(args[1], tree.Const) and not self.loose:
            try:
                function.call("2000-01-01T00:00:00.000000Z", args[1].value)
            except Fault as error:
                raise CheckError(str(error), args[1].start, "an IANA name or an offset such as +02:00") from None

    def _folded(self, node: Call, function: Function, args: tuple[Expr, ...], result: Type) -> Expr:
        """A call on constants, done now. What Alyx cannot hold is refused; what is an error stays one, or is refused in rules."""
        values: list[Any] = [item.value for item in args if isinstance(item, tree.Const)]
        try:
            return tree.Const(result, node.start, node.end, function.call(*values))
        except Beyond as error:
            raise CheckError(str(error), node.start) from None
        except Fault as error:
            if not self.loose:
                raise CheckError(f"always an error: {error}", node.start) from None
            return tree.Invoke(result, node.start, node.end, function, args)


def _check_needle(needle: Expr) -> None:
    """Of a client: a long needle in a long text holds a reader for seconds, and nothing interrupts it (hard-parts §5.1)."""
    if any(isinstance(part, tree.Column | tree.Local) for part in tree.walk(needle)):
        raise CheckError("the text to look for cannot come from the record", needle.start, "startsWith() and == can")
    if isinstance(needle, tree.Const) and len(needle.value.encode("utf-8", "surrogatepass")) > 256:
        raise CheckError("the text to look for is longer than 256 bytes", needle.start)


def _no_overload(node: Call, args: tuple[Expr, ...]) -> CheckError:
    member = node.target is not None
    shown = ", ".join(str(item.type) for item in args)
    sign = syntax.SIGNS.get(node.function)
    what = f"`{sign}`" if sign else f"{node.function}()"
    hint = None
    if {item.type.kind for item in args} == {"int", "double"}:
        hint = "int and float do not mix: write 1.0 instead of 1, or double(x)"
    elif functions.candidates(node.function, len(args), not member):
        hint = f"write it as {node.function}(x)" if member else f"write it as x.{node.function}(...)"
    return CheckError(f"{what} does not take ({shown})", node.start, hint)


def _fits(function: Function, args: tuple[Expr, ...]) -> bool:
    return all(item.type.kind in (kind, "dyn") for item, kind in zip(args, function.params, strict=True))


def _narrowed(expr: Expr, kind: str) -> Expr:
    if expr.type.kind != "dyn":
        return expr
    return tree.Narrow(types.BY_NAME[kind].required(), expr.start, expr.end, expr)
