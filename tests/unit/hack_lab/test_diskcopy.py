from pathlib import Path

from hack.lab.diskcopy import copy_image

SIZE = 1 << 20


def test_a_copy_of_an_image_takes_no_room_for_what_is_empty(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    with source.open("wb") as file:
        file.truncate(64 * SIZE)
        file.write(b"begin")
    copy_image(source, target)
    assert target.stat().st_size == 64 * SIZE
    assert target.stat().st_blocks * 512 < SIZE
