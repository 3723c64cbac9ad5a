"""auth_hba_file: what a line may say, whom it is about, and what is wrong with a bad one."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.config.hba import Arrival, HbaMethod, HbaRules, read_hba
from pgpool_lite.config.ident import IdentMap
from pgpool_lite.errors import ConfigError

FILE = Path("conf/hba.conf")
STAFF = IdentMap("staff", (("ann", "app"),))


def read(text: str, **files: str) -> HbaRules:
    """Return the rules of a text; `files` stand beside it, by name."""
    texts = {FILE: text, **{FILE.parent / name: each for name, each in files.items()}}

    def read_text(path: Path) -> str:
        if path not in texts:
            raise ConfigError("cannot be read: No such file or directory", file=path)
        return texts[path]

    return read_hba(FILE, {"staff": STAFF}, read_text)


def error(text: str, **files: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text, **files)
    return caught.value.message


def methods(rules: HbaRules, arrivals: Mapping[str, Arrival]) -> dict[str, str]:
    """Return which method each arrival meets."""
    found = {name: rules.find(arrival) for name, arrival in arrivals.items()}
    return {name: rule.method.value if rule else "none" for name, rule in found.items()}


def method(text: str, arrival: Arrival, **files: str) -> str:
    return methods(read(text, **files), {"it": arrival})["it"]


def arrive(database: str = "app", user: str = "ann", host: str | None = "10.0.0.7") -> Arrival:
    return Arrival(database, user, host)


# --- whom a rule is about ---


@pytest.mark.parametrize(
    ("line", "unix", "plain", "encrypted"),
    [
        ("local all all md5", "md5", "none", "none"),
        ("host all all all md5", "none", "md5", "md5"),
        ("hostssl all all all md5", "none", "none", "md5"),
        ("hostnossl all all all md5", "none", "md5", "none"),
    ],
)
def test_the_type_says_which_connections(line: str, unix: str, plain: str, encrypted: str) -> None:
    arrivals = {
        "unix": arrive(host=None),
        "plain": arrive(),
        "encrypted": Arrival("app", "ann", "10.0.0.7", is_encrypted=True),
    }

    assert methods(read(line), arrivals) == {
        "unix": unix,
        "plain": plain,
        "encrypted": encrypted,
    }


@pytest.mark.parametrize("name", [each.value for each in HbaMethod])
def test_every_method_has_a_word(name: str) -> None:
    assert method(f"host all all all {name}", arrive()) == name


@pytest.mark.parametrize(
    ("address", "host", "fits"),
    [
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.7/32", "10.0.0.7", True),
        ("10.0.0.7/32", "10.0.0.6", False),
        ("0.0.0.0/0", "203.0.113.9", True),
        ("0.0.0.0/0", "::1", False),
        ("128.0.0.0/7", "129.1.1.1", True),
        ("128.0.0.0/7", "130.1.1.1", False),
        ("10.0.0.0 255.255.255.0", "10.0.0.200", True),
        ("10.0.0.0 255.255.255.0", "10.0.1.200", False),
        ("10.0.7.0 255.0.255.0", "10.99.7.0", True),
        ("10.0.7.0 255.0.255.0", "10.99.7.1", True),
        ("10.0.7.0 255.0.255.0", "10.99.8.1", False),
        ("::1/128", "::1", True),
        ("::1/128", "::2", False),
        ("2001:db8::/32", "2001:db8:5::1", True),
        ("2001:db8::/32", "2001:db9::1", False),
        ("fe80:: ffff::", "fe80::1%2", True),
        ("::/0", "127.0.0.1", False),
        ("all", "127.0.0.1", True),
        ("all", "::1", True),
    ],
)
def test_an_address_has_a_mask(address: str, host: str, fits: bool) -> None:
    found = method(f"host all all {address} trust", arrive(host=host))

    assert found == ("trust" if fits else "none")


@pytest.mark.parametrize(
    ("names", "database", "fits"),
    [
        ("all", "app", True),
        ("app", "app", True),
        ("app", "App", False),
        ("app,other", "other", True),
        ("app , other", "other", True),
        ('"app"', "app", True),
        ('"a ""b"" , c"', 'a "b" , c', True),
        ('"all"', "app", False),
        ('"all"', "all", True),
        ("sameuser", "ann", True),
        ("sameuser", "app", False),
        ('"sameuser"', "sameuser", True),
        ("other,sameuser", "ann", True),
        ("replication", "replication", False),
        ('"replication"', "replication", True),
        ("@names", "two", True),
        ("@names", "four", True),
        ("@names", "five", False),
        ("@names,five", "five", True),
    ],
)
def test_databases_are_a_list_with_keywords(names: str, database: str, fits: bool) -> None:
    beside = "one, two # three\n\n  @more\n"

    found = method(
        f"host {names} all all trust", arrive(database), names=beside, more='"four" # five'
    )

    assert found == ("trust" if fits else "none")


@pytest.mark.parametrize(
    ("names", "user", "fits"),
    [
        ("all", "ann", True),
        ("ann", "ann", True),
        ("bob", "ann", False),
        ("bob, ann", "ann", True),
        ('"+ann"', "+ann", True),
        ('"@ann"', "@ann", True),
        ("@names", "ann", True),
    ],
)
def test_users_are_a_list_too(names: str, user: str, fits: bool) -> None:
    found = method(f"host all {names} all trust", arrive(user=user), names="ann")

    assert found == ("trust" if fits else "none")


def test_physical_replication_belongs_to_no_database() -> None:
    rules = read("host all all all md5\nhost app,replication ann all trust")
    replica = Arrival("app", "ann", "10.0.0.7", is_replication=True)

    assert methods(rules, {"replica": replica, "client": arrive()}) == {
        "replica": "trust",
        "client": "md5",
    }


def test_the_first_line_that_fits_decides() -> None:
    text = """\
        # TYPE DATABASE USER ADDRESS METHOD

        host all ann 10.0.0.0/8 reject # not from there
        host all all 10.0.0.0/8 md5
        host app ann all trust
        """
    arrivals = {
        "ann": arrive(),
        "bob": arrive(user="bob"),
        "ann at home": arrive(host="192.0.2.1"),
        "ann elsewhere": arrive("other", host="192.0.2.1"),
    }

    assert methods(read(text), arrivals) == {
        "ann": "reject",
        "bob": "md5",
        "ann at home": "trust",
        "ann elsewhere": "none",
    }


def test_a_rule_may_name_an_ident_map_and_knows_its_line() -> None:
    (rule,) = read("\nlocal all all peer map=staff").rules

    assert rule.map is STAFF
    assert rule.line == 2


# --- bad lines ---


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("hostgssenc all all all md5", "unsupported type 'hostgssenc': expected one of local, "),
        ('"host" all all all md5', "unsupported type 'host'"),
        ("host", "expected a database"),
        ("host all", "expected a user"),
        ("host , all all md5", "expected a database"),
        ("host all, all all md5", "failed to parse address - md5"),
        ("host samerole all all md5", "samerole is not supported"),
        ("host samegroup all all md5", "samegroup is not supported"),
        ("host all +staff all md5", "+staff is not supported"),
        ("host all all", "expected an address"),
        ("host all all md5", "failed to parse address - md5"),
        ("host all all samenet md5", "failed to parse address - samenet"),
        ("host all all db.example.com md5", "failed to parse address - db.example.com"),
        ('host all all "10.0.0.0/8" md5', "failed to parse address - 10.0.0.0"),
        ("host all all 010.0.0.0/8 md5", "failed to parse address - 010.0.0.0"),
        ("host all all fe80::1%eth0/64 md5", "failed to parse address - fe80::1%eth0"),
        ("host all all 10.0.0.0/33 md5", "invalid mask /33: expected 0 to 32"),
        ("host all all ::/129 md5", "invalid mask /129: expected 0 to 128"),
        ("host all all 10.0.0.0/ md5", "invalid mask /"),
        ("host all all 10.0.0.0/-1 md5", "invalid mask /-1"),
        ("host all all 10.0.0.0", "expected a mask behind the address"),
        ("host all all 10.0.0.0 md5", "failed to parse mask: md5"),
        ("host all all 10.0.0.0 ffff:: md5", "failed to parse mask: ffff::"),
        ("local all all", "expected a method"),
        ("local all all rejct", "unsupported method 'rejct': expected one of trust, reject, md5, "),
        ('local all all "trust"', "unsupported method 'trust'"),
        ("local all all pam", "unsupported method 'pam'"),
        ("host all all all ldap ldapserver=x", "unsupported method 'ldap'"),
        ("local all all peer staff", "unsupported option staff: expected map=name"),
        ("local all all peer map=nobody", "Ident map nobody is not found in ident config file"),
        ('local all all peer map="staff"', "Ident map  is not found in ident config file"),
        ("local all all peer map=staff more", "unsupported parameters at the end of the line"),
        ('local all all peer "map=staff"', "unsupported parameters at the end of the line"),
        ('local "app all peer', "expected a closing double quote"),
        ("local @nowhere all peer", "@conf/nowhere: cannot be read"),
        ("local @loop all peer", "files of names are nested more than 10 deep"),
    ],
)
def test_a_bad_line_is_named_with_its_reason(line: str, reason: str) -> None:
    message = error(f"\n{line}\n", loop="@loop")

    assert message.startswith("conf/hba.conf:2: could not parse hba config line 2: ")
    assert reason in message


def test_all_bad_lines_are_told_at_once_for_a_skipped_one_could_let_somebody_in() -> None:
    message = error("local all all trust\nhost all all all rejct\nhost all all all md5\nhost")

    assert "hba config line 2: unsupported method 'rejct'" in message
    assert "hba config line 4: expected a database" in message


def test_an_address_with_bits_beyond_its_mask_fits_nobody_and_is_worth_a_warning() -> None:
    rules = read("\nhost all all 192.168.1.1/0 trust")

    assert rules.find(arrive(host="192.168.1.1")) is None
    assert rules.warnings == (
        "conf/hba.conf:2: address does not match mask: 192.168.1.1/0 fits nobody",
    )


# --- any text ---


NAMES = st.text(min_size=1, max_size=9).filter(
    lambda name: not set(name) & set("\n\0") and name.isprintable()
)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@given(st.lists(NAMES, min_size=1, max_size=4), NAMES, st.sampled_from(list(HbaMethod)))
def test_any_quoted_names_are_found_again(
    databases: list[str], user: str, method_: HbaMethod
) -> None:
    line = f"host {','.join(map(quoted, databases))} {quoted(user)} all {method_}"
    rules = read(line)

    assert [method(line, arrive(each, user)) for each in databases] == [method_] * len(databases)
    assert rules.find(arrive(databases[0], user + "x")) is None


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), st.data())
def test_a_network_holds_what_the_standard_library_says(
    host: ipaddress.IPv4Address | ipaddress.IPv6Address, data: st.DataObject
) -> None:
    bits = data.draw(st.integers(0, host.max_prefixlen))
    other = data.draw(st.ip_addresses(v=4) | st.ip_addresses(v=6))
    network = ipaddress.ip_network(f"{host}/{bits}", strict=False)

    for_bits = method(f"host all all {network} trust", arrive(host=str(other)))
    mask = f"{network.network_address} {network.netmask}"
    for_mask = method(f"host all all {mask} trust", arrive(host=str(other)))

    assert for_bits == for_mask == ("trust" if other in network else "none")
    assert method(f"host all all {network} trust", arrive(host=str(host))) == "trust"


@given(st.text(alphabet=st.sampled_from('host all trust,"#@+/.:01 =\t\n'), max_size=60))
def test_any_text_is_rules_or_a_configuration_error(text: str) -> None:
    with suppress(ConfigError):
        assert len(read(text).rules) <= text.count("\n") + 1
