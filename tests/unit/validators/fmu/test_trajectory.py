"""Trajectories of simulations as files."""

from pathlib import Path

import pytest

from validators.fmu.trajectory import TrajectoryConverter, cut_to_complete_rows


@pytest.mark.parametrize(
    ("content", "rows", "left"),
    [
        (b"", 0, b""),
        (b"time [s],x", 0, b""),
        (b"time [s],x\r\n", 0, b"time [s],x\r\n"),
        (b"time [s],x\r\n0.0,1\r\n0.1,", 1, b"time [s],x\r\n0.0,1\r\n"),
        (b'time [s],x\r\n0.0,"a\nb"\r\n', 1, b'time [s],x\r\n0.0,"a\nb"\r\n'),
    ],
)
def test_rows_after_last_complete_one_are_cut(
    tmp_path: Path, content: bytes, rows: int, left: bytes
) -> None:
    csv = tmp_path / "trajectory.csv"
    csv.write_bytes(content)

    assert (cut_to_complete_rows(csv), csv.read_bytes()) == (rows, left)


def test_missing_trajectory_has_no_rows(tmp_path: Path) -> None:
    assert cut_to_complete_rows(tmp_path / "trajectory.csv") == 0


def test_trajectory_that_cannot_be_converted_stays_csv(tmp_path: Path) -> None:
    (tmp_path / "trajectory.csv").write_text('time [s],text\n0,"' + "x" * 3_000_000 + '"\n')
    header = [("time [s]", "DOUBLE"), ("text", "VARCHAR")]

    with TrajectoryConverter(tmp_path, header=header, timeout=60, memory_mb=None) as converter:
        found = converter.artifacts()

    assert [artifact.path.name for artifact in found] == ["trajectory.csv"]


def test_converter_that_is_not_needed_ends(tmp_path: Path) -> None:
    with TrajectoryConverter(tmp_path, header=[], timeout=60, memory_mb=None):
        pass

    assert {path.name for path in tmp_path.iterdir()} == {"convert"}
