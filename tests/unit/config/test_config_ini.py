"""The ini dialect, each rule as PgBouncer 1.26.1 was seen to apply it."""

from __future__ import annotations

from pathlib import Path
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.config.ini import MAX_INCLUDE_DEPTH, ReadText, Section, read_ini
from pgpool_lite.errors import ConfigError

MAIN = Path("p.ini")


def files(**texts: str) -> ReadText:
    """Files in memory: `p` is the text of p.ini."""

    def read(path: Path) -> str:
        if path.stem not in texts:
            raise ConfigError("cannot be read: No such file or directory", file=path)
        return texts[path.stem]

    return read


def read(text: str, **others: str) -> list[Section]:
    return read_ini(MAIN, files(p=text, **others))


def pairs(text: str, **others: str) -> list[tuple[str, str, str]]:
    """Section, key and value of every entry."""
    return [
        (section.name, entry.key, entry.value)
        for section in read(text, **others)
        for entry in section.entries
    ]


def error(text: str, **others: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text, **others)
    return str(caught.value)


class TestEntries:
    @pytest.mark.parametrize(
        ("line", "entry"),
        [
            ("a=1", ("a", "1")),
            ("a = 1", ("a", "1")),
            ("   a\t=\t1  ", ("a", "1")),
            ("a =", ("a", "")),
            ("A = B", ("A", "B")),
            ("a = b = c ; d # e", ("a", "b = c ; d # e")),
            ("a = 'quoted'", ("a", "'quoted'")),
            ("a.b-c*d_1 = x", ("a.b-c*d_1", "x")),
            ("* = host=h", ("*", "host=h")),
            ("'a key' = x", ("a key", "x")),
            ("a = 1\r", ("a", "1")),
            ("a = \u00a0x", ("a", "\u00a0x")),
        ],
    )
    def test_a_line_is_a_key_and_the_rest_of_the_line(
        self, line: str, entry: tuple[str, str]
    ) -> None:
        assert pairs(f"[s]\n{line}\n") == [("s", *entry)]

    @pytest.mark.parametrize("line", ["", "  ", ";a=1", "# a=1", "  ;* = x", ";p0z= x"])
    def test_comments_and_empty_lines_are_nothing(self, line: str) -> None:
        assert pairs(f"[s]\n{line}\nb=2") == [("s", "b", "2")]

    def test_an_entry_knows_its_file_and_line(self) -> None:
        entry = read("; one\n[s]\n\n  a = 1")[0].entries[0]
        assert entry == ("a", "1", MAIN, 4)

    def test_both_of_two_entries_with_one_key_are_there_in_order(self) -> None:
        assert pairs("[s]\na=1\na=2") == [("s", "a", "1"), ("s", "a", "2")]

    @given(
        st.lists(
            st.tuples(
                st.text(ascii_letters + digits + "_.*-", min_size=1),
                st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])).map(
                    lambda text: text.strip(" \t\n\r\v\f")
                ),
            )
        )
    )
    def test_what_is_written_is_read(self, entries: list[tuple[str, str]]) -> None:
        text = "".join(f"  {key} = {value}\n" for key, value in entries)
        assert pairs("[s]\n" + text) == [("s", key, value) for key, value in entries]

    @given(st.text())
    def test_any_text_is_read_or_refused_with_a_line(self, text: str) -> None:
        try:
            read(f"[s]\n{text}")
        except ConfigError as refused:
            assert refused.line is not None  # noqa: PT017 - most texts are fine, some are refused


class TestSections:
    def test_a_section_goes_on_to_the_next_header_and_may_appear_again(self) -> None:
        assert pairs("[a]\nx=1\n[b]\ny=2\n[a]\nz=3") == [
            ("a", "x", "1"),
            ("b", "y", "2"),
            ("a", "z", "3"),
        ]

    def test_a_section_knows_where_its_header_stands(self) -> None:
        assert [(each.name, each.line) for each in read("\n[a]\n\n [b]")] == [("a", 2), ("b", 4)]

    def test_an_entry_may_follow_the_header_on_its_line(self) -> None:
        assert pairs("[a] x=1 [b]\n") == [("a", "x", "1 [b]")]

    def test_the_name_is_taken_as_it_is(self) -> None:
        assert [each.name for each in read("[ PgBouncer ]")] == [" PgBouncer "]


class TestErrors:
    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("[a", "expected ']' at the end of the section's name"),
            ("key", "expected 'key = value', '[section]', '%include file' or a comment"),
            ("a key = 1", "expected 'key = value', '[section]', '%include file' or a comment"),
            ("= 1", "expected 'key = value', '[section]', '%include file' or a comment"),
            ("'' = 1", "expected 'key = value', '[section]', '%include file' or a comment"),
            ("%include", "expected a blank and a file name after %include"),
            ("%include ", "expected a file name after %include"),
            (
                '"a b" = 1',
                "expected single quotes around a name with other characters than A-Z a-z 0-9 _.-*",
            ),
        ],
    )
    def test_a_line_that_is_nothing_is_refused_with_its_place(
        self, line: str, message: str
    ) -> None:
        assert error(f"[s]\n\n  {line}\n") == f"p.ini:3: {message}"

    def test_an_entry_before_the_first_section_is_refused(self) -> None:
        assert error("a = 1\n[s]").startswith("p.ini:1: a: stands before the first section")

    def test_no_error_repeats_the_line_which_may_hold_a_secret(self) -> None:
        assert "hush" not in error("[s]\npassword hush")

    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        gone = tmp_path / "gone.ini"
        with pytest.raises(ConfigError) as caught:
            read_ini(gone)
        assert str(caught.value) == f"{gone}: cannot be read: No such file or directory"


class TestInclude:
    def test_an_included_file_stands_where_it_is_included(self) -> None:
        assert pairs("[s]\na=1\n %include  more.ini  \nc=3", more="b=2") == [
            ("s", "a", "1"),
            ("s", "b", "2"),
            ("s", "c", "3"),
        ]

    def test_the_section_an_included_file_ends_in_goes_on(self) -> None:
        assert pairs("[s]\n%include more.ini\nc=3", more="[t]\n") == [("t", "c", "3")]

    def test_entries_know_the_file_they_stand_in(self) -> None:
        entry = read("[s]\n%include more.ini", more="\nb=2")[0].entries[0]
        assert (entry.file, entry.line) == (Path("more.ini"), 2)

    def test_an_error_in_an_included_file_names_that_file(self) -> None:
        assert error("[s]\n%include more.ini", more="\n\nnonsense").startswith("more.ini:3: ")

    def test_a_file_that_is_not_there_is_an_error_of_the_including_line(self) -> None:
        assert error("[s]\n%include gone.ini") == (
            "p.ini:2: %include gone.ini: cannot be read: No such file or directory"
        )

    def test_quotes_are_part_of_the_name(self) -> None:
        assert "'more.ini'" in error("[s]\n%include 'more.ini'", more="b=2")

    def test_a_file_that_includes_itself_is_refused(self) -> None:
        assert error("[s]\n%include p.ini") == "p.ini:2: a file includes itself: p.ini -> p.ini"

    def test_a_loop_over_two_files_is_refused(self) -> None:
        assert error("[s]\n%include more.ini", more="%include ./p.ini") == (
            "more.ini:1: a file includes itself: p.ini -> more.ini -> p.ini"
        )

    def test_a_file_that_is_a_link_to_itself_cannot_be_read(self, tmp_path: Path) -> None:
        loop, main = tmp_path / "loop.ini", tmp_path / "p.ini"
        loop.symlink_to(loop)
        main.write_text(f"[pgbouncer]\n%include {loop}\n")

        with pytest.raises(ConfigError, match=r"p.ini:2: %include .*loop.ini: cannot be read"):
            read_ini(main)

    def test_a_file_with_zero_bytes_is_no_text(self, tmp_path: Path) -> None:
        main = tmp_path / "p.ini"
        main.write_bytes(b"[pgbouncer]\nlogfile = a\0b\n")

        with pytest.raises(ConfigError, match=r"p.ini:2: contains a zero byte"):
            read_ini(main)

    def test_one_file_may_be_included_twice(self) -> None:
        assert len(pairs("[s]\n%include more.ini\n%include more.ini", more="b=2")) == 2

    def test_includes_nest_as_deep_as_in_pgbouncer(self) -> None:
        chain = {f"f{n}": f"%include f{n + 1}.ini" for n in range(1, MAX_INCLUDE_DEPTH)}
        last = f"f{MAX_INCLUDE_DEPTH}"
        assert pairs("[s]\n%include f1.ini", **chain, **{last: "a=1"}) == [("s", "a", "1")]
        deeper = {last: "%include g.ini", "g": "a=1"}
        assert error("[s]\n%include f1.ini", **chain, **deeper) == (
            f"{last}.ini:1: %include is nested more than 10 files deep"
        )

    def test_a_relative_name_is_relative_to_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc" / "p.ini").write_text("[s]\n%include more.ini\n")
        (tmp_path / "more.ini").write_text("a = here\n")
        monkeypatch.chdir(tmp_path)
        sections = read_ini(Path("etc/p.ini"))
        assert sections[0].entries[0].value == "here"

    def test_bytes_that_are_no_utf8_survive(self, tmp_path: Path) -> None:
        path = tmp_path / "p.ini"
        path.write_bytes(b"[s]\na = \xff\xfe\n")
        value = read_ini(path)[0].entries[0].value
        assert value.encode("utf-8", "surrogateescape") == b"\xff\xfe"
