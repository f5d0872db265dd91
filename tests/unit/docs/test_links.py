"""Every link of the documentation leads somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
_ANCHOR = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_relative_link_exists(page):
    links = [m[1] for m in _LINK.finditer(page.read_text()) if "://" not in m[1]]
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_anchor_is_a_heading(page):
    for match in _ANCHOR.finditer(page.read_text()):
        target = page.parent / match[1] if match[1] else page
        headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
        slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
        assert match[2] in slugs


def test_every_page_is_reachable_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert [p.name for p in PAGES[2:] if f"docs/{p.name}" not in readme] == []
