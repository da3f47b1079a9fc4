"""SHAPE: align a vision-language model without human preferences.

The model answers views of a picture, what it agrees on with itself becomes a better answer, and it learns to prefer
that over the text it was given. The pure parts need no recipe: ``views``, ``truths`` (which changes a text survives),
``reading`` and ``facts`` (what texts say, votes), ``winners``, ``gate``, ``meters``, ``pope``.
``factory.make_triplets`` makes the pairs for anyone's trainer, ``preference.align_in_memory`` trains on them.
"""

from burnish.align.recipe import ShapeRecipe
from burnish.core.method import Method, Paper

METHOD = Method(
    name="shape",
    label="SHAPE",
    capability="align",
    paper=Paper(
        "SHAPE: Self-Improved Visual Preference Alignment by Iteratively Generating Holistic Winner",
        "arXiv",
        2025,
        "2503.04858",
    ),
    claim="aligns vision-language models without human preferences",
    recipe=ShapeRecipe,
    run="burnish.align.loop:align",
    check="burnish.align.preflight:check",
    report="burnish.align.report:run_sections",
    study="burnish.studies.shape.study:STUDY",
    needs=("trl", "datasets", "kornia"),
    extra="align",
    parallel="ranks",
)
