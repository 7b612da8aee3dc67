"""Unit tests of the choice of ports."""

from devenv.stack import ports

WANTED = {"web": 8000, "worker": 8001}


def test_free_wanted_ports_are_chosen() -> None:
    assert ports.choose(WANTED, remembered={}, free=lambda _: True) == WANTED


def test_busy_port_is_replaced_by_next_unwanted_one() -> None:
    chosen = ports.choose(WANTED, remembered={}, free=lambda port: port != 8000)

    assert chosen == {"web": 8002, "worker": 8001}


def test_remembered_port_is_chosen_again() -> None:
    chosen = ports.choose(WANTED, remembered={"web": 8002}, free=lambda _: True)

    assert chosen == {"web": 8002, "worker": 8001}


def test_same_wanted_port_is_given_once() -> None:
    chosen = ports.choose({"a": 9000, "b": 9000}, remembered={}, free=lambda _: True)

    assert chosen == {"a": 9000, "b": 9001}
