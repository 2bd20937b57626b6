"""Renders the latest line of every case in benches/results as the table README.md shows.

python benches/table.py           prints the table
python benches/table.py --write   puts it between the markers of README.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOKENIZER_PEERS = (
    "tokie",
    "gigatoken",
    "fastokens",
    "iree-tokenizer",
    "kitoken",
    "tiktoken",
    "sentencepiece",
)
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
        if result["benchmark"] == "tokenizers":
            continue
        details = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in result["details"].items()
                            if key in ("padding_factor", "efficiency_p50"))  # fmt: skip
        span = f"{result['ratio_p20']:.2f}-{result['ratio_p80']:.2f}"
        rows.append(
            f"| {result['case']} | {result['peer']} | **{result['ratio_p50']:.2f}** ({span}) | {details} |"
        )
    rows += _tokenizer_rows([result for result in latest.values() if result["benchmark"] == "tokenizers"])
    hardware = {
        f"{result['hardware']['cpu']}, {result['hardware']['cores']} cores" for result in latest.values()
    }
    peers = {
        f"{name} {result['versions'][name]}"
        for result in latest.values()
        for name in ("transformers", "tokenizers", "torch", *TOKENIZER_PEERS)
        if name in result["versions"]
    }
    if latest:
        rows.append(
            f"\nMedians of one run on {'; '.join(sorted(hardware))}, against {', '.join(sorted(peers))}."
        )
    return "\n".join(rows)


def _tokenizer_rows(results: list[dict]) -> list[str]:
    """A row an algorithm against tokenizers, and one a peer: the medians of all cells, the least and the most."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for result in results:
        kind, tokenizer = result["case"].split(", ")[0], result["details"]["tokenizer"]
        if kind.startswith("two threads"):
            what = result["case"]
        elif kind == "load":
            what = "loading tokenizer.json, ten tokenizers"
        elif "masks" in result["case"]:
            what = "ids, offsets, words and masks, ten tokenizers, all corpora"
        elif result["case"].endswith("first"):
            what = "ids in bulk, tokenizers just loaded, english.txt and cjk.txt"
        elif result["peer"] == "tokenizers":
            what = f"ids in bulk, {tokenizer} ({result['details']['algorithm']}), five corpora"
        else:
            what = "ids in bulk, where ids are equal"
        groups.setdefault((what, result["peer"]), []).append(result)
    rows = []
    for (what, peer), group in groups.items():
        medians = sorted(result["ratio_p50"] for result in group)
        cells = f"{len(group)} cells" if len(group) > 1 else ""
        rows.append(f"| {what} | {peer} | **{medians[0]:.2f}** to **{medians[-1]:.2f}** | {cells} |")
    return rows


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
