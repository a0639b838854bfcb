"""`python -m bench [--rounds 5] [--seconds 4] [--synchronous full|normal] [--only get,list,fanout]`: alternating runs.

Requests (bench/load.py) and live queries (bench/fanout.py); what was measured stays in bench/results.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench import fanout, load, peers

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=int, default=4)
    options.add_argument("--synchronous", choices=["full", "normal"], default="full")
    options.add_argument("--only", default="", help="names of cases, by comma")
    options.add_argument("--port", type=int, default=18100)
    args = options.parse_args()
    wanted = args.only.split(",") if args.only else [*(case.name for case in load.CASES), *fanout.CASES]
    unknown = set(wanted) - {case.name for case in load.CASES} - set(fanout.CASES)
    if unknown:
        raise SystemExit(f"there is no case {', '.join(sorted(unknown))}")
    machine = load.machine()
    print(machine)
    cases = [case for case in load.CASES if case.name in wanted]
    if cases:
        requests(args, cases, machine)
    live(args, [name for name in fanout.CASES if name in wanted], machine)


def live(args: argparse.Namespace, names: list[str], machine: str) -> None:
    """The cases of live queries; each replaces its own former result."""
    file = RESULTS / "realtime.json"
    kept = json.loads(file.read_text()) if file.exists() else {}
    for name in names:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            result = fanout.run(name, Path(folder), args.port + 10, args.rounds, args.seconds)
        kept[name] = {**dated(args, machine), "result": result}
        RESULTS.mkdir(exist_ok=True)
        file.write_text(json.dumps(kept, indent=1) + "\n")


def dated(args: argparse.Namespace, machine: str) -> dict[str, object]:
    """When, where and how something was measured."""
    return {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "machine": machine, "options": vars(args)}


def requests(args: argparse.Namespace, cases: list[load.Case], machine: str) -> None:
    """The cases of single requests."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        ours, theirs = Path(folder, "alyx"), Path(folder, "pocketbase")
        ours.mkdir()
        theirs.mkdir()
        started: list[peers.Peer] = []
        try:
            started.append(peers.start_alyx(ours, args.port, args.synchronous))
            started.append(peers.start_pocketbase(theirs, args.port + 1))
            results = {case.name: measure(started, case, args.rounds, args.seconds) for case in cases}
            if any(case.name == "get" for case in cases):
                started.append(peers.start_bare(Path(folder), args.port + 2))
                results["bare"] = beyond_bare(started[0], started[-1], args.rounds, args.seconds)
        finally:
            for peer in started:
                peer.stop()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.json").write_text(json.dumps({**dated(args, machine), "cases": results}, indent=1) + "\n")


def beyond_bare(ours: peers.Peer, bare: peers.Peer, rounds: int, seconds: int) -> dict[str, object]:
    """CPU of a read by id beyond that of a server that does nothing."""
    case = load.CASES[0]
    load.run(bare, case, 1, 0)
    pairs = [
        (load.run(ours, case, seconds, n, steady=True), load.run(bare, case, seconds, n, steady=True))
        for n in range(1, rounds + 1)
    ]
    beyond = median(a.server_us - b.server_us for a, b in pairs)
    print(
        f"\nrecord by id at {median(a.rate for a, _ in pairs):.0f}/s: {beyond:.1f} us of CPU beyond bare uvicorn"
        f" ({median(b.server_us for _, b in pairs):.1f} us); at most 30"
    )
    return {"beyond_us": beyond, "runs": [[asdict(a), asdict(b)] for a, b in pairs]}


def measure(started: list[peers.Peer], case: load.Case, rounds: int, seconds: int) -> dict[str, object]:
    """One case in alternating rounds, the first of each server not counted."""
    for peer in started:
        load.run(peer, case, 1, 0)
    runs: dict[str, list[load.Run]] = {peer.name: [] for peer in started}
    for round_number in range(rounds):
        for peer in started if round_number % 2 == 0 else reversed(started):
            runs[peer.name].append(load.run(peer, case, seconds, round_number + 1))
    ours, theirs = (runs[peer.name] for peer in started)
    ratio = median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True))
    per_cpu = median(b.server_us / a.server_us for a, b in zip(ours, theirs, strict=True))
    print(f"\n{case.title}: {ratio:.2f}x of PocketBase's rate (floor {case.floor}x), {per_cpu:.2f}x per CPU second of the server")
    for name, each in runs.items():
        rate, p99 = median(r.rate for r in each), median(r.p99 for r in each)
        server, driver = median(r.server_us for r in each), median(r.load_us for r in each)
        print(
            f"  {name:16} {rate:9.0f}/s   p99 {p99:7.2f} ms   CPU a request: server {server:6.1f} us, load {driver:5.1f} us",
            end="",
        )
        print(f"   failed {sum(r.failed for r in each)}")
    return {"ratio": ratio, "per_cpu": per_cpu, "floor": case.floor, "runs": {n: [asdict(r) for r in e] for n, e in runs.items()}}


if __name__ == "__main__":
    main()
