"""Serve a prompted classifier over encrypted texts. Planned: this is the manifest."""

from burnish.core.method import Method, Paper

METHOD = Method(
    name="secpe",
    label="SecPE",
    capability="private",
    paper=Paper(
        "SecPE: Secure Prompt Ensembling for Private and Robust Large Language Models", "arXiv", 2025, "2502.00847"
    ),
    claim="encrypted answers that are robust to adversarial edits",
)
