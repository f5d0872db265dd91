"""Help of every command, and what starting the program costs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import warm
from headway_api.version import __version__
from headway_cli import examples
from headway_cli.commands.completion import SCRIPTS
from headway_cli.exits import table
from headway_cli.main import ENTRIES, app

HEAVY = ("kubernetes", "pydantic", "rich", "yaml", "urllib3", "headway_cluster")


def paths() -> Iterator[tuple[str, ...]]:
    """Every command, as it would be typed."""
    root = typer.main.get_command(app)
    yield ()
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        yield (name,)
        yield from ((name, inner) for inner in getattr(command, "commands", {}))


def headway(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "HEADWAY_DEBUG")}
    return warm.headway(*args, env={**clean, "COLUMNS": "80", **env})


@pytest.mark.parametrize("path", list(paths()), ids=lambda path: " ".join(path) or "headway")
def test_every_command_explains_itself_in_80_columns(path: tuple[str, ...]) -> None:
    done = headway(*path, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: headway {' '.join(path)}".rstrip())
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    _, _, commands = done.stdout.partition("Commands:")
    assert "..." not in commands, "a command's short help does not fit"


@pytest.mark.parametrize("name", ENTRIES)
def test_the_line_of_a_command_is_what_it_says_of_itself(name: str) -> None:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    assert command.name == name
    assert command.get_short_help_str(80) == ENTRIES[name].line


def test_a_command_is_loaded_when_it_is_used() -> None:
    program = "import sys; from headway_cli.main import ENTRIES, app; "
    program += "print(*(m for m in sys.modules if m.startswith('headway_cli.commands.')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "\n"


def test_every_option_has_a_help_text() -> None:
    root = typer.main.get_command(app)

    def walk(command: object, path: str) -> Iterator[str]:
        for parameter in command.params:  # type: ignore[attr-defined]
            if not parameter.help:
                yield f"{path} {parameter.name}"
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, f"{path} {name}")

    assert list(walk(root, "headway")) == []


def test_help_lists_commands_in_the_order_of_use_and_every_exit_code() -> None:
    text = headway("--help").stdout
    assert text.index("  run ") < text.index("  list ") < text.index("  doctor ")
    for line in table().splitlines():
        assert line.strip() in text


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['headway', '--help']\n"
        "from headway_cli.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], text=True, capture_output=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_a_kubectl_plugin_calls_itself_by_its_name() -> None:
    plugin = Path(sys.executable).parent / "kubectl-headway"
    done = subprocess.run([plugin, "--help"], text=True, capture_output=True, timeout=60)
    assert done.stdout.startswith("Usage: kubectl headway ")


def test_the_version_is_told() -> None:
    assert headway("--version").stdout == f"headway {__version__}\n"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("runn",), "Did you mean 'run'?"),
        (("list", "--selectr", "a=b"), "--selector"),
        (("run", "train"), "Missing argument 'STRATEGY'"),
        (("wait", "--timeout", "soon"), "--timeout"),
        (("run",), "What is to run?"),
        (("run", "-n", "x", "dummy"), "Options go after dummy: --namespace."),
        (("cancel",), "Which operation?"),
        (("get", ""), "The name that was given is empty."),
        (("delete", "--yes", "trainop/"), "The name that was given is empty."),
        (("host", "renew"), "This machine is no host."),
        (("get", "--kubeconfig", "/no/such"), "there is no file /no/such."),
    ],
)
def test_what_was_typed_wrong_is_told_without_a_traceback(
    args: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(
        "{apiVersion: v1, kind: Config, current-context: a, "
        "clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}], "
        "users: [{name: a, user: {token: t}}], "
        "contexts: [{name: a, context: {cluster: a, user: a}}]}",
        encoding="utf-8",
    )
    done = headway(*args, KUBECONFIG=str(config), HEADWAY_HOME=str(tmp_path))
    assert done.returncode in (2, 4, 5)
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_without_any_cluster_the_ways_to_one_are_told(tmp_path: Path) -> None:
    done = headway("list", HOME=str(tmp_path), HEADWAY_HOME=str(tmp_path / "headway"))
    assert done.returncode == 5
    assert "No cluster is configured" in done.stderr
    assert "headway cluster up" in done.stderr
    assert "--local" in done.stderr


def test_a_cluster_that_does_not_answer_is_told_in_words(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "{apiVersion: v1, kind: Config, current-context: a, "
        "clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}], "
        "users: [{name: a, user: {token: t}}], "
        "contexts: [{name: a, context: {cluster: a, user: a, namespace: ns}}]}",
        encoding="utf-8",
    )
    done = headway("list", KUBECONFIG=str(config))
    assert done.returncode == 5
    assert "Cannot list operations in namespace ns: https://127.0.0.1:1 does not answer." in (
        done.stderr
    )


@pytest.mark.parametrize("shell", SCRIPTS)
def test_completion_prints_a_script_for_each_shell(shell: str) -> None:
    done = headway("completion", shell)
    assert done.returncode == 0
    assert "_HEADWAY_COMPLETE" in done.stdout


def test_tab_completes_commands() -> None:
    done = headway(_HEADWAY_COMPLETE="complete_bash", COMP_WORDS="headway ca", COMP_CWORD="1")
    assert done.stdout.split() == ["cancel"]


def test_streams_that_the_caller_closed_are_no_defect() -> None:
    command = f"KUBECONFIG=/nowhere {sys.executable} -m headway_cli list >&- 2>&- <&-; echo $?"
    done = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True)
    assert done.stdout == "5\n"


def test_tab_offers_no_names_where_no_cluster_answers(tmp_path: Path) -> None:
    done = headway(
        _HEADWAY_COMPLETE="complete_bash",
        COMP_WORDS="headway cancel x",
        COMP_CWORD="2",
        HEADWAY_HOME=str(tmp_path),
        KUBECONFIG="/nowhere",
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_a_dry_run_prints_the_manifest_and_needs_no_cluster(tmp_path: Path) -> None:
    done = headway(
        "submit", "dummy", "--name", "a", "--dry-run", HEADWAY_HOME=str(tmp_path), HOME="/nowhere"
    )
    assert done.returncode == 0
    assert "kind: TrainingOperation" in done.stdout


EXAMPLES = [
    " ".join(example.replace("\\\n", " ").split())
    for lines in examples._EXAMPLES.values()
    for example in lines
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_command_line_that_is_understood(example: str) -> None:
    words = shlex.split(re.split(r" (?:\||&&) ", example)[0])
    assert words.pop(0) == "headway"
    command: Any = typer.main.get_command(app)
    while getattr(command, "commands", {}).get(words[0] if words else ""):
        command = command.commands[words.pop(0)]
    command.make_context(command.name, words)  # complains of what it does not know
