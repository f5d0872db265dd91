import io

from headway_cli.terminal import Steps


def test_in_a_pipe_steps_that_count_are_told_now_and_then():
    out = io.StringIO()
    steps = Steps(out)
    for text in ("starting", "build: 1 of 9", "build: 2 of 9", "build: 3 of 9", "ready"):
        steps(text)
    assert out.getvalue() == "  starting\n  build: 1 of 9\n  ready\n"


def test_on_a_terminal_they_go_on_in_one_line(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    steps = Steps(out)
    for text in ("build: 1 of 9", "build: 2 of 9", "ready"):
        steps(text)
    assert out.getvalue() == "  build: 1 of 9\n\x1b[A\r  build: 2 of 9\x1b[K\n  ready\n"
