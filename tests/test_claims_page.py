"""What docs/hooks.py makes of the stored claims; the site itself is built elsewhere."""

import importlib.util
import re
from types import ModuleType

import pytest

from burnish.core.paths import shipped


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", shipped("docs") / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_claim_is_a_row_with_its_verdict(hooks: ModuleType) -> None:
    found = [claim for one in hooks.stored() for claim in one["claims"]]
    page = hooks.claims()
    assert page.count('<tr><th scope="row">') == len(found)
    for verdict in hooks.MEANING:
        badge = f'<span class="verdict {verdict.replace(" ", "-")}">'
        assert page.count(badge) == sum(claim["verdict"] == verdict for claim in found)
    assert all(f"Rule: {hooks.plain(claim['rule'])}." in page for claim in found)


def test_the_counts_on_top_are_of_all_claims(hooks: ModuleType) -> None:
    counts = [int(number) for number in re.findall(r"<td>(\d+)</td>", hooks.glance())]
    assert sum(counts) == sum(len(one["claims"]) for one in hooks.stored())


def test_the_row_that_is_read_aloud_is_the_stored_one(hooks: ModuleType) -> None:
    study, name = hooks.EXAMPLE
    (claim,) = (
        each for one in hooks.stored() if one["study"] == study for each in one["claims"] if each["name"] == name
    )
    said = hooks.example()
    assert claim["claim"] in said
    assert claim["rule"] in said
    assert hooks.number(claim["ours"]) in said
    assert hooks.MEANING[claim["verdict"]] in said


def test_words_are_markup_and_headers_have_a_scope(hooks: ModuleType) -> None:
    assert hooks.plain("p < .05 for `x|y`") == "p &lt; .05 for <code>x|y</code>"
    page = '<thead><tr><th>a</th><th style="x">b</th><th scope="row">c</th></tr></thead>'
    once = '<thead><tr><th scope="col">a</th><th scope="col" style="x">b</th><th scope="row">c</th></tr></thead>'
    assert hooks.on_page_content(page) == once
