"""Pictures as a model gets them: RGB, upright, not too large; damaged EXIF costs no more than the orientation."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from transformers.image_utils import load_image

from burnish.dialogue.rows import check_picture, open_picture, orientation

from .tiny import picture

REPLY = (
    "<SUMMARY>s</SUMMARY>\n<CAPTION>c</CAPTION>\n<REASONING>{reasoning}</REASONING>\n<CONCLUSION>{answer}</CONCLUSION>"
)


def test_pictures_come_in_rgb_on_white_and_not_too_large() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert open_picture(clear).getpixel((0, 0)) == (255, 255, 255)
    assert open_picture(Image.new("L", (4, 4), 7)).getpixel((0, 0)) == (7, 7, 7)
    assert open_picture(picture(300, 100), most_pixels=7500).size == (150, 50)
    source = picture(300, 100)
    check_picture(source)
    assert source.size == (300, 100)


def test_sixteen_bits_of_grey_keep_their_shades(tmp_path: Path) -> None:
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    for name in ("a.png", "a.tiff"):
        Image.fromarray(ramp).save(tmp_path / name)
        found = np.asarray(open_picture(tmp_path / name))
        assert (found == np.arange(256, dtype=np.uint8).reshape(16, 16, 1)).all()


@pytest.mark.parametrize("number", range(1, 9))
def test_a_picture_is_upright_once(number: int, tmp_path: Path) -> None:
    """As ``transformers.image_utils.load_image`` shows it; a telephone stores what it saw and how it was held."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = number
    stored = Image.new("RGB", (64, 32), "black")
    stored.paste("white", (0, 0, 16, 8))
    stored.save(tmp_path / "a.jpg", exif=exif, quality=100)
    found = open_picture(tmp_path / "a.jpg")
    theirs = load_image(str(tmp_path / "a.jpg"))
    assert found.tobytes() == theirs.tobytes()
    assert found.size == theirs.size == ((64, 32) if number < 5 else (32, 64))
    assert open_picture(found).tobytes() == found.tobytes()
    assert open_picture(tmp_path / "a.jpg", most_pixels=512).size == ((32, 16) if number < 5 else (16, 32))
    if number > 1:
        assert number == orientation(Image.open(tmp_path / "a.jpg"))


def test_damaged_exif_costs_the_orientation_only(tmp_path: Path) -> None:
    picture(8, 8).save(tmp_path / "a.jpg", exif=b"Exif\x00\x00no TIFF at all")
    assert open_picture(tmp_path / "a.jpg").size == (8, 8)
    assert orientation(Image.open(tmp_path / "a.jpg")) == 1
