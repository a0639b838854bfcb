"""The entry point of the installed command. As small as can be, so that Ctrl-C is answered cleanly while the rest is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the `alyx` command and leave the process."""
    try:
        from alyx.cli.root import cli

        cli()
    except KeyboardInterrupt:
        sys.exit(130)
