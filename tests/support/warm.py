"""The ``headway`` command in a process of its own that need not import everything anew.

To start the program costs a second of CPU, most of it imports, and the tests run it hundreds of
times. Here its process is forked from one that has imported what the commands use; it has its own
streams, environment and exit code, as every other. What the program imports when it is started,
and what it does with a terminal, a pipe or Ctrl-C, is tested on the program itself.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from headway_cli.main import ENTRIES

PROGRAM = str(Path(sys.executable).parent / "headway")
"""The headway command of the environment that the tests run in."""

_IMPORTED = (
    "headway.client",
    "headway_api.models",
    *(f"headway_cli.commands.{entry.module}" for entry in ENTRIES.values()),
    "kubernetes.client",
    "kubernetes.config",
    "rich.live",
    "yaml",
)
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(list(_IMPORTED))


def headway(
    *args: str,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: str = "",
    timeout: float = 120,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run ``headway args...``; what it prints goes to files, not to a terminal.

    Args:
        args: the command line.
        env: the whole environment.
        cwd: the working directory; None is the caller's.
        stdin: what it reads.
        timeout: seconds it may take.
        check: whether a failure raises.

    Raises:
        subprocess.TimeoutExpired: it was killed, because it took too long.
        subprocess.CalledProcessError: it failed, and ``check`` is set.
    """
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        for stream, text in zip(streams, (stdin, "", ""), strict=True):
            stream.write_text(text)
        where = str(cwd or Path.cwd())
        process = _server.Process(
            target=_become, args=([PROGRAM, *args], dict(env), where, [str(s) for s in streams])
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([PROGRAM, *args], timeout, streams[1].read_text())
        done = subprocess.CompletedProcess(
            [PROGRAM, *args], process.exitcode, streams[1].read_text(), streams[2].read_text()
        )
    if check:
        done.check_returncode()
    return done


def _become(argv: list[str], env: dict[str, str], cwd: str, streams: list[str]) -> None:
    """Be the program that is called so, in the new process."""
    for number, path in enumerate(streams):
        opened = os.open(path, os.O_WRONLY | os.O_APPEND if number else os.O_RDONLY)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - until it ends
        for number, mode in enumerate("rww")
    )
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = argv
    from headway_cli.__main__ import main

    try:
        sys.exit(main())
    finally:
        sys.stdout.flush()
        atexit._run_exitfuncs()
