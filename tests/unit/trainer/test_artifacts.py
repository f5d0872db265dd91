"""What a run leaves behind is whole, whoever else writes it at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from headway_trainer.artifacts import replace_folder


def writing(text: str):
    def fill(folder: Path) -> None:
        for name in ("a", "b"):
            (folder / name).write_text(text)

    return fill


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_a_folder_is_replaced_with_all_its_files(tmp_path):
    folder = tmp_path / "models" / "mlp"
    replace_folder(folder, writing("old"))
    (folder / "stray").write_text("old")
    replace_folder(folder, writing("new"))
    assert contents(folder) == {"a": "new", "b": "new"}
    assert list(folder.parent.iterdir()) == [folder]


def test_of_many_that_replace_a_folder_at_once_one_stays_whole(tmp_path):
    folder = tmp_path / "mlp"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: replace_folder(folder, writing(str(n))), range(200)))
    found = contents(folder)
    assert found["a"] == found["b"]
    assert list(tmp_path.iterdir()) == [folder], "and nothing is left beside it"


def test_what_cannot_be_put_in_place_leaves_the_old_folder(tmp_path, monkeypatch):
    folder = tmp_path / "mlp"
    replace_folder(folder, writing("old"))
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.suffix == ".part":
            raise PermissionError("not here")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(PermissionError):
        replace_folder(folder, writing("new"))
    assert contents(folder) == {"a": "old", "b": "old"}
    assert list(tmp_path.iterdir()) == [folder]
