"""The locks and the page of licences know every package that the program asks for."""

import pytest
from conftest import ROOT

DIRECT = [
    line.strip()
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]


@pytest.mark.parametrize("requirement", DIRECT)
def test_direct_dependencies_are_in_both_locks_and_on_the_page(requirement):
    name, version = requirement.split("==")
    for file in ("requirements.lock", "requirements-cpu.lock"):
        locked = (ROOT / file).read_text("utf-8").splitlines()
        # the build without CUDA says so in its version
        assert any(line in (f"{requirement} \\", f"{requirement}+cpu \\") for line in locked), (
            f"{file} lacks {requirement}"
        )
    page = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    assert f"\n| {name} | {version} |" in page
