"""What a save makes durable, and in which order: seen at the calls that Python and Rust make of the C library."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

# Preloaded into a process, it writes its calls of fsync, rename, link and unlink to a file; RECORD_NO_LINKS makes
# hard links fail, as on file systems that have none.
RECORDER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void record(const char *format, ...) {
    char line[9000];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    int log = open(getenv("RECORD_TO"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (log >= 0) { if (write(log, line, length) != length) abort(); close(log); }
}
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
int fsync(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    int result = NEXT(fsync)(file);
    if (length > 0 && result == 0) { path[length] = 0; record("fsync\t%s\n", path); }
    return result;
}
int rename(const char *from, const char *to) {
    int result = NEXT(rename)(from, to);
    if (result == 0) record("rename\t%s\t%s\n", from, to);
    return result;
}
int renameat(int a, const char *from, int b, const char *to) {
    int result = NEXT(renameat)(a, from, b, to);
    if (result == 0) record("rename\t%s\t%s\n", from, to);
    return result;
}
static int refused(void) { if (getenv("RECORD_NO_LINKS")) { errno = EPERM; return 1; } return 0; }
int link(const char *from, const char *to) {
    int result = refused() ? -1 : NEXT(link)(from, to);
    if (result == 0) record("link\t%s\t%s\n", from, to);
    return result;
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
    int result = refused() ? -1 : NEXT(linkat)(a, from, b, to, flags);
    if (result == 0) record("link\t%s\t%s\n", from, to);
    return result;
}
int unlink(const char *path) {
    int result = NEXT(unlink)(path);
    if (result == 0) record("unlink\t%s\n", path);
    return result;
}
"""

SAVE = """
import sys, torch
from pathlib import Path
from oxiformers.weights.save import save_state_dict
folder = Path(sys.argv[1])
for value, limit in enumerate(map(int, sys.argv[2].split(","))):
    (folder / f"begin-{value}.mark").touch()
    save_state_dict(folder, {f"t{n}": torch.full((10,), float(value)) for n in range(6)}, max_shard_size=limit)
    (folder / f"begin-{value}.mark").unlink()
"""


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that records calls."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("calls are recorded by a library that cc makes for Linux")
    folder = tmp_path_factory.mktemp("recorder")
    (folder / "recorder.c").write_text(RECORDER)
    command = [
        compiler,
        "-shared",
        "-fPIC",
        "-O1",
        "-o",
        folder / "recorder.so",
        folder / "recorder.c",
        "-ldl",
    ]
    subprocess.run(command, check=True)
    return folder / "recorder.so"


@dataclass
class Disk:
    """What would be left of a folder after a power failure, as far as calls tell.

    Attributes:
        folder: the folder.
        synced: files whose bytes are durable.
        moved: names given since the folder itself was last made durable.
        removed: files removed since then.
        saves: how many saves were complete.
    """

    folder: Path
    synced: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    saves: int = 0

    def follow(self, call: str, *paths: str) -> None:
        """Follows one call, and asserts that it comes in its turn."""
        names = [Path(path).name for path in paths]
        if call == "fsync":
            if Path(paths[0]) == self.folder:
                self.moved.clear()
                self.removed.clear()
            else:
                self.synced.add(names[0])
        elif call == "link":
            assert names[0] in self.synced, f"{names[0]} got a second name before its bytes were durable"
            self.synced.add(names[1])
        elif call == "rename":
            assert names[0] in self.synced, f"{names[1]} was replaced by a file that was not durable"
            if names[1].endswith(".index.json"):
                assert not self.moved, f"the index was replaced before {self.moved} had durable names"
            self.synced.add(names[1])
            self.moved.add(names[1])
        elif names[0].endswith(".mark"):
            assert not self.moved, f"the save ended before {self.moved} had durable names"
            assert not self.removed, f"the save ended, and {self.removed} may come back"
            self.saves += 1
        elif not names[0].endswith(".tmp"):
            assert not self.moved, f"{names[0]} went before {self.moved} had durable names"
            self.removed.add(names[0])


@pytest.mark.parametrize("links", [True, False], ids=["links", "no-links"])
def test_a_save_is_durable_step_by_step(
    recorder: Path, links: bool, tmp_path: Path, repository: Path
) -> None:
    """Files before their names, shards before the index that names them, all that is new before the old goes."""
    folder, log = tmp_path / "model", tmp_path / "calls"
    folder.mkdir()
    limits = [1000, 120, 120, 80, 1000, 1000, 80]  # 1, 2, 2, 3, 1, 1 and 3 files
    environment = os.environ | {"LD_PRELOAD": str(recorder), "RECORD_TO": str(log)}
    if not links:
        environment["RECORD_NO_LINKS"] = "1"
    command = [sys.executable, "-c", SAVE, folder, ",".join(map(str, limits))]
    subprocess.run(command, env=environment, check=True, timeout=120)
    disk = Disk(folder)
    calls = [line.split("\t") for line in log.read_text().splitlines()]
    for call, *paths in calls:
        if any(Path(path).parent == folder or Path(path) == folder for path in paths):
            disk.follow(call, *paths)
    assert disk.saves == len(limits)
    assert {"model.safetensors", "model.safetensors.index.json"} <= disk.synced
    assert any(call == "link" for call, *_ in calls) == links
