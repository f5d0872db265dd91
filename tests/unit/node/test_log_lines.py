"""What kubectl logs shows of the files that a supervisor writes."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

import pytest
from headway_cluster.node.log_endpoint import NoLogError, Source, output, parse
from headway_cluster.node.log_lines import LogReader, Selection, stamp, tail
from headway_cluster.node.supervisor import LONGEST_LINE, Log


@pytest.fixture
def file(tmp_path):
    return tmp_path / "output.log"


def write(file, *pieces, limit=10_000_000, files=3, stream="stdout"):
    log = Log(str(file), limit, files)
    for piece in pieces:
        log.feed(stream, piece)
    log.close()


def shown(file, **selection):
    source = Source(file, lambda: True)
    return b"".join(output(source, Selection(**selection), follow=False, wait=lambda _: True))


def test_output_comes_back_byte_for_byte(file):
    write(file, b"one\ntw", b"o\n\nthree")
    assert shown(file) == b"one\ntwo\n\nthree"


def test_a_very_long_line_comes_back_whole(file):
    line = b"x" * (3 * LONGEST_LINE + 5)
    write(file, line[:20_000], line[20_000:], b"\nnext\n")
    assert shown(file) == line + b"\nnext\n"
    assert shown(file, tail=2) == line + b"\nnext\n"
    assert shown(file, tail=1) == b"next\n"


def test_the_last_lines(file):
    write(file, b"1\n2\n3\n")
    assert shown(file, tail=2) == b"2\n3\n"
    assert shown(file, tail=0) == b""
    assert shown(file, tail=9) == b"1\n2\n3\n"


def test_bytes_can_be_limited(file):
    write(file, b"12345\n67890\n")
    assert shown(file, limit=8) == b"12345\n67"


def test_timestamps_come_once_a_line(file):
    write(file, b"a\n" + b"b" * (LONGEST_LINE + 1) + b"\n")
    first, second, rest = shown(file, timestamps=True).split(b"\n")
    moment, text = first.split(b" ")
    assert text == b"a"
    assert datetime.fromisoformat(moment.decode()).tzinfo is not None
    assert second.count(b"Z ") == 1
    assert rest == b""


def test_only_what_came_since(file):
    file.write_bytes(
        b"2026-01-01T00:00:00.000000001Z stdout F old\n"
        b"2026-01-01T00:00:02.000000000Z stdout F new\n"
    )
    since = stamp(datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC))
    assert shown(file, since=since) == b"new\n"


def test_one_stream_alone(file):
    log = Log(str(file), 1000, 1)
    log.feed("stdout", b"out\n")
    log.feed("stderr", b"err\n")
    log.close()
    assert shown(file, stream="stderr") == b"err\n"
    assert shown(file) == b"out\nerr\n"


def test_rotated_files_are_read_in_order_and_the_oldest_are_dropped(file):
    write(file, *(f"{n}\n".encode() for n in range(10)), limit=100, files=3)
    assert sorted(one.name for one in file.parent.iterdir()) == [
        "output.log",
        "output.log.1",
        "output.log.2",
    ]
    text = shown(file).decode().split()
    assert text == [str(n) for n in range(10)][-len(text) :]
    assert len(text) >= 4


def test_a_reader_follows_across_a_rotation(file):
    log = Log(str(file), 100, 5)
    reader = LogReader(file)
    seen = []
    for number in range(20):
        log.feed("stdout", f"{number}\n".encode())
        if number % 3 == 0:
            seen += [entry.text for entry in reader.entries()]
    log.close()
    seen += [entry.text for entry in reader.entries()]
    reader.close()
    assert seen == [str(n).encode() for n in range(20)]


def test_in_the_middle_of_a_rotation_nothing_is_missed_or_read_twice(file):
    write(file, *(f"{n}\n".encode() for n in range(4)), limit=100, files=3)
    first, second = (file.with_name(f"{file.name}.{n}") for n in (1, 2))

    def texts(reader):
        return [int(entry.text) for entry in islice(reader.entries(), 10)]

    first.replace(second)
    before = LogReader(file)
    assert texts(before) == [0, 1, 2, 3]
    file.replace(first)
    after = LogReader(file)
    assert texts(after) == [0, 1, 2, 3]
    write(file, b"4\n")
    for reader in (before, after):
        assert texts(reader) == [4]
        reader.close()


def test_following_ends_with_the_run_and_misses_nothing(file):
    log = Log(str(file), 1000, 1)
    log.feed("stdout", b"first\n")
    ended = []

    def wait(_):
        if not ended:
            log.feed("stdout", b"last\n")
            ended.append(True)
        return False

    source = Source(file, lambda: bool(ended))
    got = b"".join(output(source, Selection(), follow=True, wait=wait))
    log.close()
    assert got == b"first\nlast\n"


def test_following_ends_when_nobody_listens_any_more(file):
    write(file, b"a\n")
    source = Source(file, lambda: False)
    assert b"".join(output(source, Selection(), follow=True, wait=lambda _: True)) == b"a\n"


def test_a_log_that_is_not_there_is_empty(file):
    assert shown(file) == b""
    assert tail(file, 80, 2048) == ""


def test_the_tail_for_a_termination_message_is_bounded(file):
    write(file, b"".join(b"%d\n" % n for n in range(100)))
    assert tail(file, 2, 100) == "98\n99\n"
    assert tail(file, 80, 5) == "8\n99\n"


def test_a_request_for_a_log_is_read():
    asked = parse(
        "/containerLogs/ns/pod/main?follow=true&tailLines=5&previous=true&timestamps=true"
        "&limitBytes=9&sinceTime=2026-01-01T00%3A00%3A00Z"
    )
    assert (asked.namespace, asked.pod, asked.container) == ("ns", "pod", "main")
    assert asked.follow
    assert asked.previous
    assert asked.selection == Selection(
        tail=5, since="2026-01-01T00:00:00.000000000Z", timestamps=True, limit=9
    )


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/exec/ns/pod/main?command=sh", 501),
        ("/pods", 404),
        ("/containerLogs/ns/pod", 404),
        ("/containerLogs/ns/pod/main?tailLines=-1", 400),
        ("/containerLogs/ns/pod/main?sinceTime=yesterday", 400),
    ],
)
def test_everything_else_is_refused(target, status):
    with pytest.raises(NoLogError) as refused:
        parse(target)
    assert refused.value.status == status
