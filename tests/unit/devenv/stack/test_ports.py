"""Which ports are taken."""

from devenv.stack import ports

WANTED = {"web": 8000, "worker": 8001}


def test_what_is_wanted_and_free_is_taken() -> None:
    assert ports.choose(WANTED, remembered={}, free=lambda _: True) == WANTED


def test_a_busy_port_gives_way_to_the_next_one_nobody_else_wants() -> None:
    chosen = ports.choose(WANTED, remembered={}, free=lambda port: port != 8000)

    assert chosen == {"web": 8002, "worker": 8001}


def test_the_port_of_the_last_time_is_taken_again() -> None:
    chosen = ports.choose(WANTED, remembered={"web": 8002}, free=lambda _: True)

    assert chosen == {"web": 8002, "worker": 8001}


def test_two_that_want_the_same_port_get_two() -> None:
    chosen = ports.choose({"a": 9000, "b": 9000}, remembered={}, free=lambda _: True)

    assert chosen == {"a": 9000, "b": 9001}
