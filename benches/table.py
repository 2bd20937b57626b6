"""Renders the latest line of every case in benches/results as the table README.md shows.

python benches/table.py             prints the tables
python benches/table.py --kernels   prints a row for every case of the kernels, which the README groups
python benches/table.py --write     puts the tables between the markers of README.md
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


def latest_results() -> list[dict]:
    """The last line of every benchmark, case and peer."""
    latest: dict[tuple[str, str, str], dict] = {}
    for path in sorted((ROOT / "benches/results").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            result = json.loads(line)
            peer = result["peer"].split(" (")[0]
            latest[result["benchmark"], result["case"], peer] = result
    return list(latest.values())


def is_kernel(result: dict) -> bool:
    return result["benchmark"].startswith("kernels/")


def table(latest: list[dict]) -> str:
    """A Markdown table; the ratio is the peer's time over ours, of the same run."""
    rows = ["| what | against | times as fast (p20-p80) | also measured |", "|---|---|---|---|"]
    for result in latest:
        if result["benchmark"] == "tokenizers":
            continue
        details = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in result["details"].items()
                            if key in ("padding_factor", "efficiency_p50"))  # fmt: skip
        span = f"{result['ratio_p20']:.2f}-{result['ratio_p80']:.2f}"
        rows.append(
            f"| {result['case']} | {result['peer']} | **{result['ratio_p50']:.2f}** ({span}) | {details} |"
        )
    rows += _tokenizer_rows([result for result in latest if result["benchmark"] == "tokenizers"])
    hardware = {f"{result['hardware']['cpu']}, {result['hardware']['cores']} cores" for result in latest}
    peers = {
        f"{name} {result['versions'][name]}"
        for result in latest
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


def kernel_table(results: list[dict], grouped: bool = True) -> str:
    """A row for what an op does and against whom; over several shapes the least and the greatest figure."""
    if not results:
        return "Kernels: figures on a GPU have not been measured."
    groups: dict[tuple[str, str, str], list[dict]] = {}
    for result in results:
        what, _, shapes = result["case"].partition(", ")
        key = (f"{result['benchmark'].removeprefix('kernels/')}, {what}", result["peer"])
        groups.setdefault((*key, "" if grouped else shapes), []).append(result)
    rows = ["| kernel | shapes | against | times as fast | also measured |", "|---|---|---|---|---|"]
    for (what, peer, _), group in groups.items():
        shapes = f"{len(group)} shapes" if len(group) > 1 else group[0]["case"].partition(", ")[2]
        measured = []
        for key in ("bandwidth_share", "matmul_share", "memory_ratio"):
            values = [result["details"][key] for result in group if key in result["details"]]
            if values:
                measured.append(f"{key.replace('_', ' ')} {_range(values)}")
        ratios = _range([result["ratio_p50"] for result in group], "**{:.2f}**")
        rows.append(f"| {what} | {shapes} | {peer} | {ratios} | {', '.join(measured)} |")
    devices = {
        f"{result['hardware']['gpu']} (driver {result['hardware']['driver']}, "
        + ", ".join(f"{name} {version}" for name, version in result["versions"].items() if name != "python")
        + ")"
        for result in results
    }
    rows.append(
        f"\nKernels: medians on {'; '.join(sorted(devices))}. Bandwidth share: of what a large copy "
        "reaches; matmul share: of a large product in bfloat16; memory ratio: the peer's peak over ours."
    )
    return "\n".join(rows)


def _range(values: list[float], form: str = "{:.2f}") -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def with_table(readme: str) -> str:
    """The README's text with the tables between its markers brought up to date."""
    before, rest = readme.split(START)
    after = rest.split(END)[1]
    return f"{before}{START}\n{tables()}\n{END}{after}"


def tables() -> str:
    """What the README shows: everything that runs on a CPU, and the kernels."""
    results = latest_results()
    own = [result for result in results if not is_kernel(result)]
    return f"{table(own)}\n\n{kernel_table([result for result in results if is_kernel(result)])}"


if __name__ == "__main__":
    if "--write" in sys.argv:
        path = ROOT / "README.md"
        path.write_text(with_table(path.read_text()))
    elif "--kernels" in sys.argv:
        print(kernel_table([result for result in latest_results() if is_kernel(result)], grouped=False))
    else:
        print(tables())
