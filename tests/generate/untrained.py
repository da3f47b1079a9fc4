"""A unified model of the easel's words with random weights: draws noise, in no time."""

from pathlib import Path

import torch

from burnish.generate.artist import set_wording
from burnish.generate.codecs.opening import open_codec
from burnish.generate.folder import Unified
from burnish.generate.initial import from_scratch
from burnish.generate.picture_files import write_picture
from burnish.generate.plan import Wording
from burnish.generate.settings import ModelSettings
from burnish.testbeds.easel.sources import draw, make_tokenizer
from burnish.testbeds.easel.world import SHAPE_WORLD

WORDING = Wording(**SHAPE_WORLD.wording())


def untrained() -> Unified:
    settings = ModelSettings(width=32, layers=2, heads=2, intermediate=32)
    codec, tokenizer = open_codec(settings.codec), make_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Unified(from_scratch(settings, codec, len(tokenizer)).eval(), codec, tokenizer)
    set_wording(made, WORDING)
    return made


def equip_easel(folder: Path) -> None:
    """What the examples of `generate` speak of: a model where `burnish run mint/tiny` leaves one, and a picture."""
    untrained().save_pretrained(folder / "runs" / "mint-tiny")
    write_picture(folder / "scene.png", draw(1, 0)[0].picture)
