"""DOV4CL corrected: was this self-supervised encoder pre-trained on my pictures?"""

from burnish.core.method import Method, Paper
from burnish.prove.dov4cl.recipe import AuditRecipe

METHOD = Method(
    name="dov4cl",
    label="DOV4CL",
    capability="prove",
    paper=Paper("Dataset Ownership Verification in Contrastive Pre-trained Models", "ICLR", 2025, "2502.07276"),
    claim="tells whether a backbone was pre-trained on given images",
    recipe=AuditRecipe,
    run="burnish.prove.dov4cl.loop:audit",
    check="burnish.prove.dov4cl.preflight:check",
    report="burnish.prove.dov4cl.report:sections",
    study="burnish.studies.dov4cl.study:STUDY",
    analyse="burnish.prove.dov4cl.analysis:ANALYSIS",
    parallel="executor",
)
