"""Reinforced Model Merging and its rivals: choose, layer by layer, what a merged model is made of. No gradients."""

from burnish.core.method import Method, Paper
from burnish.merge.rmm.recipe import SearchRecipe

METHOD = Method(
    name="rmm",
    label="RMM",
    capability="merge",
    paper=Paper("Reinforced Model Merging", "arXiv", 2025, "2503.21272"),
    claim="a learned layer-wise search beats uniform merges, with rewards up to 100x cheaper",
    recipe=SearchRecipe,
    run="burnish.merge.rmm.loop:search",
    check="burnish.merge.rmm.preflight:check",
    report="burnish.merge.rmm.report:sections",
    study="burnish.studies.rmm.study:STUDY",
    needs=("cma", "gymnasium", "sb3_contrib"),
    extra="search",
    parallel="executor",
)
