"""Distill a big video or image classifier into a small one, on a small easy and diverse part of the data.

The pure parts need no recipe: ``interruption``, ``difficulty``, ``losses``, ``selection``, ``dpp``, ``rules``;
``models`` reads any two classifiers, ``trainer.Distiller`` trains, ``loop.distill_in_memory`` does it in a notebook.
"""

from burnish.core.method import Method, Paper
from burnish.distill.recipe import SakdRecipe

METHOD = Method(
    name="sakd",
    label="SAKD",
    capability="distill",
    paper=Paper(
        "Sample-level Adaptive Knowledge Distillation for Action Recognition", "ACM Multimedia", 2025, "2504.00606"
    ),
    claim="a better student for a fraction of the training cost",
    recipe=SakdRecipe,
    run="burnish.distill.loop:distill",
    check="burnish.distill.preflight:check",
    report="burnish.distill.report:run_sections",
    needs=("av", "kornia"),
    extra="distill",
    study="burnish.studies.sakd.study:STUDY",
    parallel="ranks",
)
