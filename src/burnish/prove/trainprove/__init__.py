"""TrainProVe: was this classifier trained on pictures of my generator? With a known rate of false accusations."""

from burnish.core.method import Method, Paper
from burnish.prove.trainprove.recipe import AuditRecipe

METHOD = Method(
    name="trainprove",
    label="TrainProVe",
    capability="prove",
    paper=Paper(
        "Training Data Provenance Verification: "
        "Did Your Model Use Synthetic Data from My Generative Model for Training?",
        "CVPR",
        2025,
        "2503.09122",
    ),
    claim="names the generator behind a classifier's training data",
    recipe=AuditRecipe,
    run="burnish.prove.trainprove.loop:audit",
    check="burnish.prove.trainprove.preflight:check",
    report="burnish.prove.trainprove.report:run_sections",
    study="burnish.studies.trainprove.study:STUDY",
    analyse="burnish.prove.trainprove.analysis:ANALYSIS",
    parallel="executor",
)
