"""A process of one version of transformers, started when it is first asked something; answers are kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load, save, save_file

from tests.models.answer import Tensors
from tests.oracle_cache import OracleCache

PROGRAM = Path(__file__).parent / "oracle.py"
HELPER = Path(__file__).parent / "answer.py"


class OracleError(Exception):
    """transformers raised; the message is its own."""


class OracleProcess:
    """One interpreter, running `oracle.py` from the first question to `close`.

    Args:
        python: the interpreter.
        folder: an empty one for what goes in and out.
    """

    def __init__(self, python: Path, folder: Path) -> None:
        self.cache = OracleCache(python, PROGRAM, HELPER)
        #: The processor's seconds of the answers since it was last set, kept ones included.
        self.seconds = 0.0
        self._python, self._folder = python, folder
        self._process: subprocess.Popen[str] | None = None
        self._digests: dict[str, str] = {}

    def ask(self, command: str, **job: Any) -> Any:
        """What the program makes of one job; raises OracleError with its error."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"command": command, **job}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._python} {PROGRAM.name} ended:\n{self._errors.read_text()}")
        reply = json.loads(line)
        if reply["error"] is not None:
            raise OracleError(reply["error"])
        return reply["result"]

    def answer(
        self, command: str, name: str, built: Callable[[], Any], inputs: Tensors, **options: Any
    ) -> Tensors:
        """The tensors that a class gives.

        Args:
            command: answer or calls.
            name: of the subject; its class before a "-".
            built: makes our model, of the same weights at each call.
            inputs: see the program.
            **options: further values of the job.
        """
        key = self.cache.key(command, self._digest(name, built), _digest(save(inputs)), options)
        kept = self.cache.get(key)
        if kept is None:
            given, output = self._folder / "inputs.safetensors", self._folder / "output.safetensors"
            save_file(inputs, given)
            self.ask(
                command, **{"class": name.partition("-")[0]}, model=str(self._model(name, built)),
                inputs=str(given), output=str(output), **options,
            )  # fmt: skip
            kept = output.read_bytes()
            self.cache.put(key, kept)
        header = json.loads(kept[8 : 8 + int.from_bytes(kept[:8], "little")])
        self.seconds += float(header["__metadata__"]["seconds"])
        return load(kept)

    def saved(self, name: str, built: Callable[[], Any]) -> Path:
        """The folder of a subject's model as transformers saves it."""
        folder = self._folder / "saved" / name
        if folder.is_dir():
            return folder
        key = self.cache.key("save", self._digest(name, built))
        if not self.cache.copy_out(key, folder):
            job = {"class": name.partition("-")[0], "model": str(self._model(name, built))}
            self.ask("save", **job, output=str(folder))
            self.cache.copy_in(key, folder)
        return folder

    def close(self) -> None:
        """Ends the process."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    @property
    def _errors(self) -> Path:
        return self._folder / "errors.txt"

    def _start(self) -> subprocess.Popen[str]:
        environment = os.environ | {
            "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [self._python, PROGRAM],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
            )  # fmt: skip
        return self._process

    def _model(self, name: str, built: Callable[[], Any]) -> Path:
        """The folder of a subject's model as we save it."""
        folder = self._folder / "models" / name
        if not folder.is_dir():
            built().save_pretrained(folder)
        return folder

    def _digest(self, name: str, built: Callable[[], Any]) -> str:
        """Of a subject's config and weights."""
        if name not in self._digests:
            model = built()
            weights = {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}
            config = model.config.to_json_string()
            self._digests[name] = _digest(name.partition("-")[0].encode(), config.encode(), save(weights))
        return self._digests[name]


def _digest(*parts: bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()


def ask_once(python: Path, command: str, **job: Any) -> Any:
    """What a process of its own makes of one job."""
    with tempfile.TemporaryDirectory() as folder:
        process = OracleProcess(python, Path(folder))
        try:
            return process.ask(command, **job)
        finally:
            process.close()
