"""``python -m headway_cluster.binaries PROGRAM...``: finds or makes programs; prints paths."""

from __future__ import annotations

import sys

from headway_cluster.binaries import ensure
from headway_cluster.errors import ClusterError
from headway_cluster.home import Home


def main() -> int:
    """Print the path of each program that is named, one a line."""
    try:
        found = ensure(Home.find(), sys.argv[1:], lambda text: print(text, file=sys.stderr))
    except (ClusterError, KeyError) as error:
        print(f"headway: {error}", file=sys.stderr)
        return 1
    print(*found.values(), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
