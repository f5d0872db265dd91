"""Painting frames over each other on a terminal, without flicker and across resizes.

Rich's own ``Live`` erases a frame before it draws the next, and counts the rows of the old frame at
the width that it was drawn with: narrow the window, and the terminal wraps the old lines into more
rows than are erased. This painter counts the rows as they lie on the terminal now, overwrites
instead of erasing, sends one write per frame, and none at all when nothing changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.segment import Segment

_HIDE_CURSOR = "\x1b[?25l"
_SHOW_CURSOR = "\x1b[?25h"
_BEGIN = "\x1b[?2026h"
_END = "\x1b[?2026l"
"""Synchronized output: terminals that know it show a frame at once, the others ignore it."""
_CLEAR_LINE = "\x1b[K"
_CLEAR_BELOW = "\x1b[J"
_RESET = "\x1b[0m"


class Painter:
    """Shows one changing block of lines at the bottom of the output.

    Args:
        console: where to paint; it must be a terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: tuple[str, ...] = ()
        self._lengths: list[int] = []
        self._size: tuple[int, int] | None = None
        self._hidden = False

    def paint(self, renderable: RenderableType) -> None:
        """Replace what was painted by this."""
        console = self._console
        width, height = console.size
        # One column stays free: a line that fills the last one makes some terminals wrap.
        options = console.options.update(width=max(10, width - 1))
        segments = console.render_lines(renderable, options, pad=False)[: max(1, height - 1)]
        frame = tuple(self._texts(segments))
        if frame == self._shown and (width, height) == self._size:
            return
        out = [_BEGIN]
        if not self._hidden:
            out.append(_HIDE_CURSOR)
            self._hidden = True
        out.append(self._home(width))
        out += [line + _RESET + _CLEAR_LINE + "\n" for line in frame]
        out.append(_CLEAR_BELOW + _END)
        self._shown, self._size = frame, (width, height)
        self._lengths = [sum(segment.cell_length for segment in line) for line in segments]
        self._write("".join(out))

    def clear(self) -> None:
        """Take the block away; what is printed next stands in its place."""
        out = self._home(self._console.size.width) + _CLEAR_BELOW
        if self._hidden:
            out += _SHOW_CURSOR
            self._hidden = False
        self._shown, self._lengths, self._size = (), [], None
        self._write(out)

    def leave(self) -> None:
        """Keep the block where it is and go on below it."""
        if self._hidden:
            self._hidden = False
            self._write(_SHOW_CURSOR)
        self._shown, self._lengths, self._size = (), [], None

    def _home(self, width: int) -> str:
        rows = sum(max(1, -(-length // width)) for length in self._lengths)
        return "\r" + (f"\x1b[{rows}A" if rows else "")

    def _texts(self, lines: list[list[Segment]]) -> list[str]:
        from rich.segment import SegmentLines

        with self._console.capture() as captured:
            self._console.print(SegmentLines(lines, new_lines=True), end="", crop=False)
        return captured.get().split("\n")[: len(lines)]

    def _write(self, text: str) -> None:
        stream = self._console.file
        stream.write(text)
        stream.flush()
