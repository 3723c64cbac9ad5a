"""Builds are copies: one without extensions, one with those that belong to the same sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import builds
from bench.builds import Kind, add_extensions, build, fingerprint
from bench.errors import LeftOut


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository of one module, which compiles by copying."""
    root = tmp_path / "repository"
    (root / "pgpool_lite").mkdir(parents=True)
    (root / "pgpool_lite" / "hot.py").write_text("x = 1\n")
    (root / "pgpool_lite" / "hot.so").write_text("old")
    (root / "hatch_build.py").write_text(
        "import shutil; shutil.copy('pgpool_lite/hot.py', 'pgpool_lite/hot.so')"
    )
    monkeypatch.setattr(builds, "ROOT", root)
    return root


@pytest.mark.usefixtures("sources")
def test_the_interpreted_build_has_no_extensions() -> None:
    with build(Kind.INTERPRETED) as made:
        assert made.name == "pgpool_lite interpreted"
        assert [path.name for path in (made.folder / "pgpool_lite").iterdir()] == ["hot.py"]


@pytest.mark.usefixtures("sources")
def test_the_compiled_build_has_extensions_made_from_these_sources(tmp_path: Path) -> None:
    with build(Kind.COMPILED, tmp_path / "kept") as made:
        assert (made.folder / "pgpool_lite" / "hot.so").read_text() == "x = 1\n"


@pytest.mark.usefixtures("sources")
def test_extensions_are_kept_for_the_next_time(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with build(Kind.COMPILED, kept):
        pass
    (extensions,) = kept.iterdir()
    (extensions / "pgpool_lite" / "hot.so").write_text("kept")

    with build(Kind.COMPILED, kept) as made:
        assert (made.folder / "pgpool_lite" / "hot.so").read_text() == "kept"


def test_other_sources_have_another_fingerprint(sources: Path) -> None:
    before = fingerprint(sources)
    (sources / "pgpool_lite" / "hot.py").write_text("x = 2\n")

    assert fingerprint(sources) != before


def test_where_it_cannot_be_compiled_the_reason_is_the_compilers(
    sources: Path, tmp_path: Path
) -> None:
    (sources / "hatch_build.py").write_text("raise SystemExit('no C compiler')")

    with pytest.raises(LeftOut, match="pgpool_lite compiled: no C compiler"):
        add_extensions(sources, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
