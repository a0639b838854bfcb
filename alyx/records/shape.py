"""Texts of documents -> bodies and headers of answers (contract §3). Pure; the last stage of every walk.

The database makes one JSON text a document; here they are joined, never parsed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from urllib.parse import quote

from alyx.base import json
from alyx.records.answer import Answer, Written
from alyx.records.query import ListQuery


def etag(text: str) -> str:
    """A strong validator (RFC 9110 §8.8.3): a hash of the document's full text, so a restored backup cannot repeat one."""
    return f'"{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"'


def names(if_none_match: str, tag: str) -> bool:
    """Whether If-None-Match names this tag: weak comparison, RFC 9110 §13.1.2."""
    return if_none_match.strip() == "*" or tag in (part.strip().removeprefix("W/") for part in if_none_match.split(","))


def page(texts: Sequence[str], total: int | None, asked: ListQuery, cursor: str | None) -> bytes:
    """A page of a list. total: left out when None. cursor: of the next page, None on the last."""
    counted = "" if total is None else f',"total":{total}'
    onward = "" if cursor is None else f',"next_cursor":"{cursor}"'
    return f'{{"docs":[{",".join(texts)}]{counted},"limit":{asked.limit},"offset":{asked.offset}{onward}}}'.encode()


def one(base: str, written: Written) -> Answer:
    """The answer to a single write. base: the path of the collection, for Location."""
    location = f"{base}/{quote(str(written.key), safe='')}" if written.status == 201 else None
    if written.text is not None:
        return Answer(written.status, written.text.encode(), etag=etag(written.text), location=location)
    return Answer(written.status, _shown(written).encode() if location else b"", location=location)


def many(created: Sequence[Written]) -> Answer:
    """The answer to a create of several documents."""
    return Answer(201, f'{{"docs":[{",".join(_shown(each) for each in created)}]}}'.encode())


def batch(results: Sequence[Written]) -> Answer:
    """`{"results": [{"status", "data"?}]}`."""
    parts = []
    for each in results:
        data = f',"data":{_shown(each)}' if each.text is not None or each.status == 201 else ""
        parts.append(f'{{"status":{each.status}{data}}}')
    return Answer(200, f'{{"results":[{",".join(parts)}]}}'.encode())


def _shown(written: Written) -> str:
    """The document, or only its id where the caller may not read it."""
    return written.text if written.text is not None else json.dumps({"id": written.key}).decode()
