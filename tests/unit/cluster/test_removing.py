import os
from pathlib import Path

from headway_cluster.removing import remove

NOBODY = 65534


def test_a_folder_that_is_not_there_is_no_error(tmp_path):
    remove(tmp_path / "nothing")


def test_of_a_link_to_a_folder_the_link_alone_goes(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "data").mkdir(parents=True)
    for one in (elsewhere, elsewhere / "data"):
        one.chmod(0o755)
    link = tmp_path / "claim"
    link.symlink_to(elsewhere)
    remove(link)
    assert not os.path.lexists(link)
    assert [one.stat().st_mode & 0o777 for one in (elsewhere, elsewhere / "data")] == [0o755] * 2


def test_folders_that_may_not_be_written_go_as_well(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    os.chown(tmp_path, *((NOBODY, NOBODY) if os.geteuid() == 0 else (-1, -1)))
    child = os.fork()
    if child == 0:
        try:
            _make_and_remove(tmp_path)
        except BaseException:  # whatever it is, the child must never go on with the tests
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert [one.name for one in tmp_path.rglob("*")] == ["kept", "file"]


def _make_and_remove(where: Path) -> None:
    """As somebody whom permissions concern: root may write everywhere."""
    os.chdir(where)
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    folder = Path("folder")
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").touch()
    (folder / "link").symlink_to(where / "kept")
    for one in (folder / "a" / "b", folder / "a", folder):
        one.chmod(0o500)
    remove(folder)
    assert not folder.exists()
