"""``headway-crd``: renders the CRD, or checks that the committed file is what it would render."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from headway_api.crd.render import render


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code (1: the file has drifted)."""
    parser = argparse.ArgumentParser(prog="headway-crd", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("render", "write the CRD"), ("check", "fail if FILE differs from the CRD")):
        command = commands.add_parser(name, help=text)
        command.add_argument("file", nargs="?" if name == "render" else None, type=Path)
    args = parser.parse_args(argv)
    rendered = render()
    if args.command == "render":
        if args.file is None:
            sys.stdout.write(rendered)
        else:
            args.file.write_text(rendered, encoding="utf-8")
        return 0
    committed = args.file.read_text(encoding="utf-8") if args.file.exists() else ""
    if committed == rendered:
        return 0
    diff = difflib.unified_diff(
        committed.splitlines(), rendered.splitlines(), str(args.file), "rendered", lineterm=""
    )
    sys.stderr.write("\n".join(diff))
    sys.stderr.write(f"\n{args.file} is out of date: run `headway-crd render {args.file}`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
