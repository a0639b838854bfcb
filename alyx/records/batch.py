"""Several writes, all or none, in one transaction: `POST /api/batch`, and a create of a list (contract §3).

Parses the operations and runs them in order; `writing` does each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from alyx.base import json
from alyx.base.errors import AlyxError, Detail
from alyx.database.work import Work
from alyx.records.answer import Written
from alyx.records.limits import Limits
from alyx.records.writing import Prepared
from alyx.schema.values import refuse, shown, unreadable

_METHODS = {"POST": False, "PATCH": True, "PUT": True, "DELETE": True}
"""The methods of an operation, and whether it needs an id."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as asked for; data is parsed JSON, not yet validated."""

    method: str
    collection: str
    id: str | None
    data: Any


def parse(body: bytes, limits: Limits) -> list[Operation]:
    """The operations of a batch. Raises AlyxError INVALID_JSON or VALIDATION_ERROR with every fault of the envelope."""
    try:
        value = json.parse(body, max_depth=limits.json_depth + 3, big_integers=True)
    except json.InvalidJSON as error:
        raise unreadable(error) from None
    if not isinstance(value, dict) or set(value) != {"operations"} or not isinstance(value["operations"], list):
        raise AlyxError("VALIDATION_ERROR", 'A batch is {"operations": [...]}.')
    listed = value["operations"]
    if not 1 <= len(listed) <= limits.batch:
        raise AlyxError("VALIDATION_ERROR", f"A batch has 1 to {limits.batch} operations.")
    refuse([fault for position, each in enumerate(listed) for fault in _faults(position, each)])
    return [Operation(each["method"], each["collection"], _key(each.get("id")), each.get("data")) for each in listed]


def _key(value: Any) -> str | None:
    return None if value is None else str(value)


def _faults(position: int, each: Any) -> list[Detail]:
    at = f"operations.{position}"
    if not isinstance(each, dict):
        return [Detail(at, "invalid_type", "an operation is an object")]
    faults = [
        Detail(f"{at}.{shown(name)}", "unknown_field", "is unknown")
        for name in each
        if name not in ("method", "collection", "id", "data")
    ]
    method = each.get("method")
    if not isinstance(method, str) or method not in _METHODS:
        faults.append(Detail(f"{at}.method", "enum", f"method is one of {', '.join(_METHODS)}"))
    elif _METHODS[method] and not _is_key(each.get("id")):
        faults.append(Detail(f"{at}.id", "required", f"{method} needs an id"))
    elif not _METHODS[method] and each.get("id") is not None:
        faults.append(Detail(f"{at}.id", "unknown_field", "POST takes no id; put it into data"))
    if not isinstance(each.get("collection"), str):
        faults.append(Detail(f"{at}.collection", "required", "an operation names its collection"))
    if method == "DELETE" and each.get("data") is not None:
        faults.append(Detail(f"{at}.data", "unknown_field", "DELETE takes no data"))
    return faults


def _is_key(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Batch:
    """Operations that are ready to run, and what the first that is not was refused for."""

    prepared: Sequence[Prepared]
    refused: AlyxError | None


def prepare(make: Sequence[Callable[[], Prepared]]) -> Batch:
    """Validate and judge what needs no database, before the writer is asked for.

    An operation that fails here is answered only once those before it have run: one of them may fail, and is then the first.
    """
    prepared: list[Prepared] = []
    for position, each in enumerate(make):
        try:
            prepared.append(each())
        except AlyxError as error:
            error.operation = position
            if not position:
                raise
            return Batch(prepared, error)
    return Batch(prepared, None)


def run(batch: Batch) -> Work[list[Written]]:
    """Do the operations in order; the first that fails ends them all and is named by its index."""
    done: list[Written] = []
    for position, prepared in enumerate(batch.prepared):
        try:
            done.append((yield from prepared()))
        except AlyxError as error:
            error.operation = position
            raise
    if batch.refused is not None:
        raise batch.refused
    return done


def prepare_all(make: Sequence[Callable[[], Prepared]]) -> Sequence[Prepared]:
    """Prepare the documents of one create; the faults of one are named by its position."""
    prepared: list[Prepared] = []
    for position, each in enumerate(make):
        with _at(position):
            prepared.append(each())
    return prepared


def run_all(prepared: Sequence[Prepared]) -> Work[list[Written]]:
    """Create them all; the faults of the one that fails are named by its position."""
    done: list[Written] = []
    for position, each in enumerate(prepared):
        with _at(position):
            done.append((yield from each()))
    return done


@contextmanager
def _at(position: int) -> Iterator[None]:
    try:
        yield
    except AlyxError as error:
        error.details = [Detail(f"{position}.{each.field}", each.code, each.message) for each in error.details]
        raise
