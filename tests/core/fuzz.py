"""Random pipelines, texts and options put to both tokenizers: `python -m tests.core.fuzz --help`.

A worker process checks cases; this one watches it, so that a crash or a hang is a finding like any other. What
differs is shrunk and printed as JSON, which `--replay FILE` reads (one case a line, or the whole file).
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
# Examples a run of hypothesis makes before the next one starts with a new seed.
CHUNK = 500
# Seconds that shrinking one finding may take, and that a single case may take before it counts as hanging.
SHRINKING, HANGING = 20.0, 60.0


def use_core(path: str) -> None:
    """Makes `oxiformers._core` the extension built at `path`."""
    loader = importlib.machinery.ExtensionFileLoader("oxiformers._core", path)
    spec = importlib.util.spec_from_file_location("oxiformers._core", path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["oxiformers._core"] = module
    loader.exec_module(module)


class Worker:
    """Checks cases of one kind and prints a JSON line for each finding, and one at the end."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.known = [(frozenset(types), what) for types, what in json.loads(options.known)]
        self.compared = self.skipped = 0
        self.unsupported: collections.Counter[str] = collections.Counter()

    def run(self) -> None:
        from tests.core.cases import kinds

        strategy = kinds()[self.options.only[0]]
        end = time.monotonic() + self.options.seconds
        chunk = self.options.seed * 1_000_003
        while self.compared < self.options.cases and time.monotonic() < end:
            self._chunk(strategy, chunk, end)
            chunk += 1
            print(json.dumps({"compared": self.compared, "skipped": self.skipped}), flush=True)
        print(json.dumps({"unsupported": self.unsupported}), flush=True)

    def _chunk(self, strategy: Any, chunk: int, end: float) -> None:
        from hypothesis import HealthCheck, Phase, given, seed, settings

        from tests.core.differential import Divergence, Unsupported, check

        failing: list[str] = []
        give_up = [end]

        @seed(chunk)
        @settings(
            max_examples=CHUNK,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=False,
        )
        @given(strategy)
        def one(case: Any) -> None:
            text = case.to_json()
            # Past its time, shrinking ends with what it has.
            if time.monotonic() > give_up[0] and text not in failing[-1:]:
                return
            if not failing and self.compared >= self.options.cases:
                return
            Path(self.options.current).write_text(text)
            try:
                self.compared += check(case, lenient=self.options.lenient)
            except Unsupported as error:
                self.unsupported[str(error)[:160]] += 1
            except Divergence as found:
                if any(types <= case.types() and what == found.what for types, what in self.known):
                    self.skipped += 1
                    return
                if not failing:
                    give_up[0] = time.monotonic() + SHRINKING
                failing.append(text)
                raise

        try:
            one()
        except Divergence as found:
            types = sorted(found.case.types())
            self.known.append((frozenset(types), found.what))
            finding = {
                "what": found.what,
                "types": types,
                "message": str(found),
                "case": found.case.to_json(),
            }
            print(json.dumps(finding), flush=True)


def watch(kind: str, options: argparse.Namespace, known: list[tuple[list[str], str]]) -> tuple[int, int]:
    """Runs workers until the kind has had its cases; returns how many were compared and how many findings there are."""
    compared = findings = attempts = 0
    deadline = time.monotonic() + options.seconds
    start = time.monotonic()
    skipped = 0
    while compared < options.cases and time.monotonic() < deadline:
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            current = Path(folder) / "case.json"
            command = [sys.executable, "-m", "tests.core.fuzz", "--worker", "--only", kind]
            command += [
                "--cases",
                str(options.cases - compared),
                "--seed",
                str(options.seed + 1000 * attempts),
            ]
            command += ["--seconds", str(deadline - time.monotonic()), "--known", json.dumps(known)]
            command += ["--current", str(current), *(["--lenient"] if options.lenient else [])]
            command += ["--core", options.core] if options.core else []
            environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "RUST_BACKTRACE": "0"}
            errors = stack.enter_context(open(Path(folder) / "stderr", "w+"))
            worker = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT, env=environment
            )
            assert worker.stdout is not None
            os.set_blocking(worker.stdout.fileno(), False)
            before, hung, done = compared, False, 0
            while True:
                line = worker.stdout.readline()
                if line:
                    message = json.loads(line)
                    if "case" in message:
                        findings += 1
                        known.append((message["types"], message["what"]))
                        report(kind, message, options)
                    elif "compared" in message:
                        done, skipped = message["compared"], message["skipped"]
                        if options.verbose:
                            print(
                                f"{kind}: {before + done} compared, {time.monotonic() - start:.0f} s",
                                flush=True,
                            )
                    elif message["unsupported"]:
                        for text, count in message["unsupported"].items():
                            print(f"{kind}: {count} cases not comparable: {text}")
                    continue
                if worker.poll() is not None:
                    break
                if current.exists() and time.time() - current.stat().st_mtime > HANGING:
                    hung = True
                    worker.kill()
                    worker.wait()
                    break
                time.sleep(0.05)
            compared = before + done
            attempts += 1
            if hung or worker.returncode != 0:
                findings += 1
                errors.seek(0)
                what = "hang" if hung else f"crash {worker.returncode}"
                message = {"what": what, "types": [], "message": errors.read()[-2000:]}
                message["case"] = current.read_text() if current.exists() else "{}"
                report(kind, message, options)
                if attempts > 20:
                    break
    took = time.monotonic() - start
    print(
        f"{kind:24} {compared:7} cases, {findings} findings, {skipped} of known findings, {took:.0f} s",
        flush=True,
    )
    return compared, findings


def report(kind: str, message: dict[str, Any], options: argparse.Namespace) -> None:
    print(f"--- {kind}: {message['what']} with {', '.join(message['types'])}\n{message['message']}")
    print(message["case"], flush=True)
    if options.save:
        folder = Path(options.save)
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / f"{kind}.jsonl", "a") as file:
            file.write(message["case"] + "\n")


def replay(path: str) -> int:
    """Checks the cases of a file again."""
    from tests.core.cases import Case
    from tests.core.differential import Divergence, check

    found = 0
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line.strip().startswith("{"):
            try:
                print(f"agrees ({check(Case.from_json(line))} compared)")
            except Divergence as error:
                found += 1
                print(f"{error}\n{line}")
    return 1 if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", default=[], help="kinds, or components such as normalizers.Replace"
    )
    parser.add_argument("--cases", type=int, default=200_000, help="shared by the kinds")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after this long, for each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--core", help="an extension to test instead of the installed one")
    parser.add_argument("--lenient", action="store_true", help="pass over components that ours does not have")
    parser.add_argument("--replay", metavar="FILE", help="check the cases of a file again")
    parser.add_argument("--save", metavar="FOLDER", help="append findings to files there")
    parser.add_argument("--list", action="store_true", help="list kinds and components")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--known", default="[]", help=argparse.SUPPRESS)
    parser.add_argument("--current", default=os.devnull, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.core:
        use_core(options.core)
    if options.worker:
        Worker(options).run()
        return 0
    if options.replay:
        return replay(options.replay)
    from tests.core.cases import KINDS, kinds

    if options.list:
        print("\n".join(kinds()))
        return 0
    names = options.only or list(KINDS)
    for name in names:
        if name not in kinds():
            parser.error(f"no kind is named {name}: --list shows them")
    options.cases = -(-options.cases // len(names))
    known: list[tuple[list[str], str]] = []
    results = [watch(name, options, known) for name in names]
    compared, findings = (sum(numbers) for numbers in zip(*results, strict=True))
    print(f"{compared} cases, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
