"""What is built for a release, and where it goes."""

import packages
import pytest


def test_a_folder_that_holds_something_else_is_not_emptied(tmp_path):
    kept = tmp_path / "thesis.tex"
    kept.touch()
    with pytest.raises(packages.PackageError, match=r"holds thesis\.tex"):
        packages.build(tmp_path, tmp_path)
    assert kept.exists()
