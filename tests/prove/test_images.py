import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from burnish.core.errors import UserError
from burnish.prove.images import ImageSet, ImageSettings, digests, load_images, resized, with_channels


def save(path: Path, pixels: np.ndarray, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **more)
    return path


def grey(value: int, side: int = 4) -> np.ndarray:
    return np.full((side, side), value, np.uint8)


def made() -> ImageSet:
    pixels = np.stack([np.full((4, 6, 1), value, np.uint8) for value in range(6)])
    return ImageSet(pixels, tuple("abcdef"), np.array([0, 0, 0, 0, 1, 1]), ("no", "yes"))


def empty() -> ImageSet:
    return ImageSet(np.zeros((0, 4, 4, 3), np.uint8), ())


def no_set() -> list[int]:
    return [1]


def raises() -> ImageSet:
    raise ValueError("mine")


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    save(tmp_path / "b.png", grey(2))
    save(tmp_path / "a.png", grey(1))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "._a.png").write_text("left by a file manager")
    found = load_images(ImageSettings(source=str(tmp_path)))
    assert found.pixels.shape == (2, 4, 4, 3)
    assert found.pixels[:, 0, 0, 0].tolist() == [1, 2]
    assert found.labels is None
    assert found.names[0].endswith("a.png")


def test_a_folder_a_class_and_a_limit_that_keeps_all(tmp_path: Path) -> None:
    for label, name in enumerate(["cat", "dog"]):
        for number in range(3):
            save(tmp_path / name / f"{number}.png", grey(10 * label + number))
    found = load_images(ImageSettings(source=str(tmp_path), channels=1, limit=4))
    assert found.classes == ("cat", "dog")
    assert found.labels is not None
    assert sorted(found.labels.tolist()) == [0, 0, 1, 1]
    assert sorted(found.pixels[:, 0, 0, 0].tolist()) == [0, 1, 10, 11]


def test_transparent_lies_on_white_and_16_bit_becomes_8(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((4, 4, 4), np.uint8))
    save(tmp_path / "b.png", np.full((4, 4), 300, np.uint16))
    found = load_images(ImageSettings(source=str(tmp_path)))
    assert (found.pixels[0] == 255).all()
    assert (found.pixels[1] == 1).all()


def test_size_takes_the_middle_square(tmp_path: Path) -> None:
    wide = np.zeros((4, 8), np.uint8)
    wide[:, 2:6] = 200
    save(tmp_path / "a.png", wide)
    found = load_images(ImageSettings(source=str(tmp_path), size=2, channels=1))
    assert found.pixels.shape == (1, 2, 2, 1)
    assert (found.pixels == 200).all()


def test_a_function() -> None:
    found = load_images(ImageSettings(source="tests.prove.test_images:made", limit=4))
    assert found.pixels.shape == (4, 4, 6, 3)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert load_images(ImageSettings(source="tests.prove.test_images:made", size=3)).pixels.shape == (6, 3, 3, 3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("tests.prove.test_images:empty", "at least one picture"),
        ("tests.prove.test_images:no_set", "returned a list, not a"),
        ("tests.prove.test_images:raises", r"raised ValueError: mine \(test_images.py:\d+\)"),
        ("tests.prove.test_images:absent", "has no `absent`"),
        ("nowhere", "no such folder of pictures"),
    ],
)
def test_sources_that_are_none(source: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_images(ImageSettings(source=source))
    assert "\n" not in str(caught.value)


def test_bad_pictures_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pictures in it"):
        load_images(ImageSettings(source=str(tmp_path)))
    save(tmp_path / "a.png", grey(1))
    save(tmp_path / "b.png", grey(1, side=5))
    with pytest.raises(UserError, match=r"b\.png: 5 x 5 pixels, but a\.png has 4 x 4"):
        load_images(ImageSettings(source=str(tmp_path)))
    whole = (tmp_path / "a.png").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not a picture"):
        (tmp_path / "b.png").write_bytes(damaged)
        with pytest.raises(UserError, match=r"b\.png: cannot be read as a picture"):
            load_images(ImageSettings(source=str(tmp_path)))
    (tmp_path / "b.png").unlink()
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"b\.png: cannot be read as a picture"):
        load_images(ImageSettings(source=str(tmp_path)))
    (tmp_path / "b.png").unlink()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "c.tiff")
    with pytest.raises(UserError, match=r"c\.tiff: F pixels have no known range"):
        load_images(ImageSettings(source=str(tmp_path)))
    (tmp_path / "c.tiff").unlink()
    save(tmp_path / "class" / "d.png", grey(1))
    with pytest.raises(UserError, match="pictures beside class folders"):
        load_images(ImageSettings(source=str(tmp_path)))


def test_a_class_without_pictures_is_named(tmp_path: Path) -> None:
    save(tmp_path / "cat" / "a.png", grey(1))
    save(tmp_path / "emu" / "a.png", grey(1))
    (tmp_path / ".thumbnails").mkdir()
    assert load_images(ImageSettings(source=str(tmp_path))).classes == ("cat", "emu")
    (tmp_path / "dog").mkdir()
    with pytest.raises(UserError, match="dog: a class without pictures"):
        load_images(ImageSettings(source=str(tmp_path)))


def misplaced() -> ImageSet:
    return ImageSet(made().pixels, made().names, np.array([0, 0, 0, 0, 1, 2]), ("no", "yes"))


def nameless() -> ImageSet:
    return ImageSet(made().pixels, ("a",))


def test_labels_outside_the_classes() -> None:
    with pytest.raises(UserError, match="outside its 2 classes"):
        load_images(ImageSettings(source="tests.prove.test_images:misplaced"))
    with pytest.raises(UserError, match="not as many names"):
        load_images(ImageSettings(source="tests.prove.test_images:nameless"))


def test_digest_by_hand_and_by_shape() -> None:
    pixels = np.array([[[[7], [8]]]], np.uint8)  # one picture, 1 high, 2 wide, 1 channel
    header = bytes([1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0])
    assert digests(pixels) == [hashlib.sha256(header + bytes([7, 8])).digest()]
    assert digests(pixels) != digests(pixels.reshape(1, 2, 1, 1))


def test_channels_and_size() -> None:
    rgb = np.array([[[[255, 0, 0], [0, 255, 0]]]], np.uint8)
    assert with_channels(rgb, 1)[0, 0, :, 0].tolist() == [76, 150]
    assert with_channels(with_channels(rgb, 1), 3).shape == rgb.shape
    assert resized(rgb, 1, 2) is rgb
    assert resized(np.full((2, 4, 4, 1), 9, np.uint8), 2, 3).shape == (2, 2, 3, 1)
