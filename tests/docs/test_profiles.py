"""Is docs/profiles.md what the profiles say?"""

from __future__ import annotations

from tests.docs.profiles import TARGET, render


def test_the_page_is_what_the_profiles_say() -> None:
    assert TARGET.read_text(encoding="utf-8") == render(), "python -m tests.docs.profiles"
