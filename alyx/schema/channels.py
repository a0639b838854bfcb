"""The key `channels` of schema.yaml: kinds of channels with the rules that guard them (contract §5).

Called by `load`; rules are taken as text, and the rules layer checks them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from alyx.schema.model import CHANNEL_OPERATIONS, Channel
from alyx.schema.section import Section, check_name
from alyx.schema.yaml import join, kind


def read(top: Section) -> Mapping[str, Channel]:
    """The channels of a schema by name, in file order; faults are noted in the section."""
    node = top.node.get("channels")
    if node is None or node.value is None:
        return MappingProxyType({})
    if not node.is_map:
        top.fault(f"must be a map, not {kind(node.value)}", "room: { join: ..., send: ... }", key="channels")
        return MappingProxyType({})
    found = {}
    for name, child in node.entries():
        path = join("channels", name)
        check_name(child, path, name, top.faults)
        if not child.is_map:
            message = f"must be a map with `join` and `send`, not {kind(child.value)}"
            top.faults.add(child, path, message, at_key=child.value is None)
            continue
        section = Section(child, path, top.faults, CHANNEL_OPERATIONS)
        found[name] = Channel(name, section.rule("join"), section.rule("send"), section.place)
    return MappingProxyType(found)
