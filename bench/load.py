"""Drives a server with wrk and reads what it says; counts wrk's own CPU so that it can be shown not to be the limit."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.peers import Peer

CONNECTIONS = 32


@dataclass(frozen=True)
class Case:
    """One kind of request. lines: Lua statements that set `path`, `method` and `body` of a request from the tables at hand."""

    name: str
    title: str
    floor: float
    alyx: str
    pocketbase: str


@dataclass(frozen=True)
class Run:
    """Requests a second, 99th percentile in ms, answers that were not 2xx, CPU microseconds a request of server and load."""

    rate: float
    p99: float
    failed: int
    server_us: float
    load_us: float


_HEAD = """
local own = {own}
local posts = {posts}
local authors = {authors}
local user = "{user}"
local token = "{token}"
local signed = {{ ["authorization"] = token, ["content-type"] = "application/json" }}
local words = {{ "lorem", "ipsum", "dolor", "sit", "amet", "elit", "sed", "magna", "aliqua", "minim" }}
local function pick(list) return list[math.random(#list)] end
local function text(n) local t = {{}} for i = 1, n do t[i] = pick(words) end return table.concat(t, " ") end
math.randomseed({seed})
request = function()
{lines}
end
"""

CASES = [
    Case(
        "get",
        "record by id",
        1.5,
        'return wrk.format("GET", "/api/collections/posts/" .. pick(posts))',
        'return wrk.format("GET", "/api/collections/posts/records/" .. pick(posts))',
    ),
    Case(
        "list",
        "list of 20, filter on an indexed field, sort, with total",
        2.5,
        'return wrk.format("GET", "/api/collections/posts?limit=20&sort=-created&filter=author:eq:" .. pick(authors))',
        'return wrk.format("GET", "/api/collections/posts/records?perPage=20&sort=-created&filter=author%3D%22"'
        ' .. pick(authors) .. "%22")',
    ),
    Case(
        "list-no-total",
        "the same without total",
        2.5,
        'return wrk.format("GET", "/api/collections/posts?limit=20&count=none&sort=-created&filter=author:eq:" .. pick(authors))',
        'return wrk.format("GET", "/api/collections/posts/records?perPage=20&skipTotal=1&sort=-created&filter=author%3D%22"'
        ' .. pick(authors) .. "%22")',
    ),
    Case(
        "create",
        "create",
        1.3,
        'return wrk.format("POST", "/api/collections/posts", signed, \'{"title":"\' .. text(6) .. \'","body":"\' .. text(60)'
        ' .. \'","status":"published","author":"\' .. user .. \'","views":\' .. math.random(9999) .. "}")',
        'return wrk.format("POST", "/api/collections/posts/records", signed, \'{"title":"\' .. text(6) .. \'","body":"\''
        ' .. text(60) .. \'","status":"published","author":"\' .. user .. \'","views":\' .. math.random(9999) .. "}")',
    ),
    Case(
        "update",
        "update of two fields",
        1.5,
        'return wrk.format("PATCH", "/api/collections/posts/" .. pick(own), signed, \'{"title":"\' .. text(6)'
        ' .. \'","views":\' .. math.random(9999) .. "}")',
        'return wrk.format("PATCH", "/api/collections/posts/records/" .. pick(own), signed, \'{"title":"\' .. text(6)'
        ' .. \'","views":\' .. math.random(9999) .. "}")',
    ),
]


_DELAY = """
function delay() return 4 end
"""
"""4 ms between an answer and the next request of a connection: 32 of them ask at most 8,000 times a second."""


def run(peer: Peer, case: Case, seconds: int, seed: int, *, steady: bool = False) -> Run:
    """One run of one case against one server. steady: at a rate that any server can keep, so that CPU can be compared: a slower
    server is otherwise charged for waking the load generator, which a faster one never lets sleep."""
    binary = shutil.which("wrk")
    if binary is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    alyx = peer.name.startswith("Alyx")
    script = peer.folder / f"{case.name}.lua"
    script.write_text(
        _HEAD.format(
            own=_table(peer.own),
            posts=_table(peer.posts),
            authors=_table(peer.authors),
            user=peer.user,
            token=f"Bearer {peer.token}" if alyx else peer.token,
            seed=seed,
            lines=case.alyx if alyx or not peer.token else case.pocketbase,
        )
        + (_DELAY if steady else "")
    )
    server_before, load_before = peer.cpu_seconds(), _children_cpu()
    command = [binary, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script), peer.url()]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    count = int(_find(r"(\d+) requests in", said))
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return Run(
        rate=float(_find(r"Requests/sec:\s+([\d.]+)", said)),
        p99=_milliseconds(_find(r"99%\s+(\S+)", said)),
        failed=int(failed[1]) if failed else 0,
        server_us=(peer.cpu_seconds() - server_before) / max(count, 1) * 1e6,
        load_us=(_children_cpu() - load_before) / max(count, 1) * 1e6,
    )


def _table(items: list[str]) -> str:
    return json.dumps(items).replace("[", "{").replace("]", "}")


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"wrk said nothing like {pattern}:\n{text}")
    return found[1]


def _milliseconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(us|ms|s)", text)
    if found is None:
        return float("nan")  # wrk says -nan or 0.00% where hardly anything was answered
    number, unit = found.groups()
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def machine() -> str:
    """What the figures were taken on, and what else ran there."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?"
    )
    cores = Path("/proc/cpuinfo").read_text().count("processor\t")
    return f"{cpu}, {cores} cores; load average before the run {Path('/proc/loadavg').read_text().split()[0]}"
