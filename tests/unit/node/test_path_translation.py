from __future__ import annotations

from pathlib import Path

import pytest
from headway_cluster.node.paths import PathTranslation

TRANSLATE = PathTranslation(
    {"/data": Path("/x/v1"), "/data/deep": Path("/x/v2"), "/dev/termination-log": Path("/x/t")}
)


@pytest.mark.parametrize(
    ("text", "real"),
    [
        ("/data", "/x/v1"),
        ("/data/", "/x/v1/"),
        ("/data/a.csv", "/x/v1/a.csv"),
        ("--out=/data/a", "--out=/x/v1/a"),
        ("cat /data/a > /dev/termination-log", "cat /x/v1/a > /x/t"),
        ("/data/deep/a", "/x/v2/a"),
        ("/data/deeper", "/x/v1/deeper"),
        ("'/data'", "'/x/v1'"),
        ("/data:/data/deep", "/x/v1:/x/v2"),
        ("Look into /data.", "Look into /x/v1."),
        ("file:///data/shared", "file:///x/v1/shared"),
        ('{"path": "/data/b"}', '{"path": "/x/v1/b"}'),
    ],
)
def test_a_mount_path_becomes_its_folder(text, real):
    assert TRANSLATE(text) == real


@pytest.mark.parametrize(
    "text",
    [
        "/database",
        "/data-2",
        "/data.csv",
        "/srv/data",
        "a/data",
        "~/data",
        "./data",
        "data",
        "",
        "https://example.com/data",
        "s3:///data",
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert TRANSLATE(text) == text


def test_a_translation_of_nothing_changes_nothing():
    assert PathTranslation({})("/data") == "/data"
    assert PathTranslation({"/": Path("/x")})("/data") == "/data"


def test_the_folder_of_a_mount_path_is_told():
    assert TRANSLATE.folder("/data/") == "/x/v1"
    assert TRANSLATE.folder("/else") is None
