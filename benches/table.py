"""Renders the latest line of every case in benches/results as the table README.md shows.

python benches/table.py           prints the table
python benches/table.py --write   puts it between the markers of README.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- measured: start -->", "<!-- measured: end -->"


def table() -> str:
    """A Markdown table; the ratio is the peer's time over ours, of the same run."""
    latest: dict[tuple[str, str, str], dict] = {}
    for path in sorted((ROOT / "benches/results").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            result = json.loads(line)
            peer = result["peer"].split(" (")[0]
            latest[result["benchmark"], result["case"], peer] = result
    rows = ["| what | against | times as fast (p20-p80) | also measured |", "|---|---|---|---|"]
    for result in latest.values():
        details = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in result["details"].items()
                            if key in ("padding_factor", "efficiency_p50"))  # fmt: skip
        span = f"{result['ratio_p20']:.2f}-{result['ratio_p80']:.2f}"
        rows.append(
            f"| {result['case']} | {result['peer']} | **{result['ratio_p50']:.2f}** ({span}) | {details} |"
        )
    hardware = {
        f"{result['hardware']['cpu']}, {result['hardware']['cores']} cores" for result in latest.values()
    }
    peers = {
        f"{name} {result['versions'][name]}"
        for result in latest.values()
        for name in ("transformers", "tokenizers", "torch")
        if name in result["versions"]
    }
    if latest:
        rows.append(
            f"\nMedians of one run on {'; '.join(sorted(hardware))}, against {', '.join(sorted(peers))}."
        )
    return "\n".join(rows)


def with_table(readme: str) -> str:
    """The README's text with the table between its markers brought up to date."""
    before, rest = readme.split(START)
    after = rest.split(END)[1]
    return f"{before}{START}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    if "--write" in sys.argv:
        path = ROOT / "README.md"
        path.write_text(with_table(path.read_text()))
    else:
        print(table())
