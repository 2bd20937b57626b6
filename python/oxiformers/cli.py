"""The command line: `oxiformers env`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from oxiformers import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command (sys.argv by default) and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="oxiformers", description="The Transformers quick tour on a Rust core."
    )
    parser.add_argument("--version", action="version", version=f"oxiformers {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("env", help="versions, devices, environment variables, and what runs each op")
    parser.parse_args(arguments)
    from oxiformers.report import env_report

    print(env_report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
