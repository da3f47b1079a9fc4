"""Serve a prompted classifier over encrypted texts, robust to small edits. Importing it costs nothing heavy.

The client keeps the encoder and the secret key, the server the heads of its prompts: ``bundle`` has both halves. Pure
parts: ``prompts``, ``heads``, ``selection``, ``attacks``, ``ensemble`` (the circuit), ``polynomials``, ``encryption``.
"""

from burnish.core.method import Method, Paper
from burnish.private.recipe import SecpeRecipe

METHOD = Method(
    name="secpe",
    label="SecPE",
    capability="private",
    paper=Paper(
        "SecPE: Secure Prompt Ensembling for Private and Robust Large Language Models", "arXiv", 2025, "2502.00847"
    ),
    claim="encrypted answers that are robust to adversarial edits",
    recipe=SecpeRecipe,
    run="burnish.private.loop:make_classifier",
    check="burnish.private.preflight:check",
    report="burnish.private.report:run_sections",
    needs=("tenseal",),
    extra="private",
    study="burnish.studies.secpe.study:STUDY",
)
