"""An evidence folder: checked by hashes, by its commitment, and by computing everything again."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import burnish.prove
from burnish.core.errors import BurnishError, UserError
from burnish.core.files import write_manifest
from burnish.core.report import Section
from burnish.prove.dov4cl import analysis as dov4cl
from burnish.prove.evidence import folder as evidence_folder
from burnish.prove.evidence import verification, verify, write_commitment, write_evidence
from burnish.prove.evidence.analysis import Analysis
from burnish.prove.evidence.commitment import opening
from burnish.prove.evidence.verification import differences
from burnish.prove.images import ImageSettings
from tests.prove.dov4cl.test_audit import made
from tests.prove.evidence.fake import ANALYSIS, FakeRecipe, analyse

METHOD = "tests.prove.evidence.fake:METHOD"
SETTINGS = {"seed": 3, "alpha": 0.05}
ARRAYS: dict[str, np.ndarray] = {"suspect": np.linspace(0, 1, 7, dtype=np.float32), "shadow": np.arange(4)}


@pytest.fixture(autouse=True)
def _the_fake_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    real = evidence_folder.find_analysis

    def find(method: str) -> Analysis:
        return ANALYSIS if method == METHOD else real(method)

    for module in (evidence_folder, verification):
        monkeypatch.setattr(module, "find_analysis", find)


def commitment(folder: Path, name: str = "c.json", seed: int = 3) -> Path:
    sets = {
        "public": ImageSettings(source="tests.prove.evidence.fake:pictures"),
        "private": ImageSettings(source="tests.prove.evidence.fake:pictures", limit=2),
    }
    recipe = FakeRecipe(seed=seed, public=sets["public"], private=sets["private"])
    return write_commitment(recipe, folder / name)


@pytest.fixture
def another_commitment(tmp_path: Path) -> Path:
    """Made before the evidence, so that its date gives nothing away."""
    return commitment(tmp_path, "other.json", seed=9)


@pytest.fixture
def evidence(another_commitment: Path, tmp_path: Path) -> Path:
    return write_evidence(
        tmp_path / "evidence",
        method=METHOD,
        settings=SETTINGS,
        arrays=ARRAYS,
        findings=analyse(ARRAYS, SETTINGS),
        commitment=commitment(tmp_path),
        sections=[Section("Verdict", "No evidence.")],
    )


def edit(path: Path, change: Any) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_untouched_evidence_agrees(evidence: Path, tmp_path: Path) -> None:
    found = verify(evidence, tmp_path / "c.json")
    assert found.ok
    assert not found.problems
    assert found.notes == ["4 numbers were computed again and agree exactly"]
    assert found.root == json.loads((tmp_path / "c.json").read_text())["root"]
    page = (evidence / "report.html").read_text()
    assert "No evidence." in page
    assert "<time>20" in page
    plain = burnish.prove.verify(evidence)
    assert json.loads(json.dumps(plain))["ok"] is True
    assert plain["seal"] == found.seal


def test_bytes_of_the_answers(evidence: Path) -> None:
    path = evidence / "answers.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    found = verify(evidence)
    assert found.problems == [
        "answers.safetensors: changed after the evidence was written (its SHA-256 is not that of manifest.json)"
    ]
    assert not found.ok


def test_answers_changed_with_the_manifest(evidence: Path) -> None:
    arrays = load_file(evidence / "answers.safetensors")
    arrays["suspect"] = arrays["suspect"] + np.float32(0.5)
    save_file(arrays, evidence / "answers.safetensors")
    before = verify(evidence).seal
    write_manifest(evidence)
    found = verify(evidence)
    assert len(found.problems) == 1
    assert "findings.json: does not follow from answers.safetensors" in found.problems[0]
    assert "tests.0.statistic is 0.5, computed 1.0" in found.problems[0]
    assert found.seal != before


def test_a_number_in_the_findings_with_the_manifest(evidence: Path) -> None:
    edit(evidence / "findings.json", lambda data: data["tests"][0].update(p=0.001))
    assert "findings.json: changed" in verify(evidence).problems[0]
    write_manifest(evidence)
    found = verify(evidence)
    assert not found.ok
    assert found.problems[0].startswith("findings.json: does not follow")
    assert "tests.0.p is 0.001, computed 0.08" in found.problems[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data: data["verdict"].update(outcome="evidence"),
            'verdict.outcome is "evidence", computed "no evidence"',
        ),
        (lambda data: data.pop("assumptions"), "assumptions is missing"),
        (lambda data: data.update(more=1), "more is not computed from the answers"),
        (lambda data: data["tests"].append(data["tests"][0]), "tests is"),
    ],
)
def test_other_changes_of_the_findings(evidence: Path, change: Any, message: str) -> None:
    edit(evidence / "findings.json", change)
    write_manifest(evidence)
    assert message in verify(evidence).problems[0]


def test_a_swapped_commitment(evidence: Path, another_commitment: Path, tmp_path: Path) -> None:
    shutil.copy(another_commitment, evidence / "commitment.json")
    assert verify(evidence).problems[0].startswith("commitment.json: changed after the evidence was written")
    write_manifest(evidence)
    found = verify(evidence)
    assert found.problems == [
        "commitment.json: not the one that the audit was checked against (its SHA-256 is not that in settings.json)"
    ]
    # Whoever also changes settings.json is found out by the published commitment, and by the seal.
    from burnish.core.files import sha256

    edit(evidence / "settings.json", lambda data: data.update(commitment=sha256(evidence / "commitment.json")))
    write_manifest(evidence)
    assert verify(evidence).problems == [
        "settings.json: its recipe is not the one of commitment.json (it does not lead to the root)"
    ]
    edit(evidence / "settings.json", lambda data: data.update(opening=opening(another_commitment)))
    write_manifest(evidence)
    assert verify(evidence).problems == [
        "settings.json: not the settings that were committed to: seed is 3, committed to 9"
    ]
    assert verify(evidence, tmp_path / "c.json").problems == ["commitment.json: not the published one (another root)"]


def test_a_commitment_that_is_gone_late_or_foreign(evidence: Path, tmp_path: Path) -> None:
    (evidence / "commitment.json").unlink()
    write_manifest(evidence)
    assert verify(evidence).problems == ["commitment.json: missing; settings.json says that there was one"]
    edit(evidence / "settings.json", lambda data: data.update(commitment=None))
    write_manifest(evidence)
    assert verify(evidence).ok
    assert "not the published one" in verify(evidence, tmp_path / "c.json").problems[0]
    edit(tmp_path / "c.json", lambda data: data.update(time="2999-01-01T00:00:00+00:00"))
    late = write_evidence(
        tmp_path / "late",
        method=METHOD,
        settings=SETTINGS,
        arrays=ARRAYS,
        findings=analyse(ARRAYS, SETTINGS),
        commitment=tmp_path / "c.json",
    )
    assert "after the evidence" in verify(late).problems[0]


@pytest.mark.parametrize(
    "name", ["answers.safetensors", "settings.json", "findings.json", "report.html", "manifest.json"]
)
def test_each_file_gone_emptied_or_garbled(evidence: Path, name: str) -> None:
    path = evidence / name
    whole = path.read_bytes()
    for data in (b"", b"\xff\xfe garbage", b"[" * 5000, b"null", whole[: len(whole) // 2]):
        path.write_bytes(data)
        found = verify(evidence)
        assert found.problems[0].startswith(name)
        if name != "manifest.json":
            write_manifest(evidence)
            again = verify(evidence)
            # A report that was changed together with the manifest is told by the seal alone.
            assert again.ok == (name == "report.html")
            assert again.seal != found.seal
            path.write_bytes(whole)
            write_manifest(evidence)
    path.unlink()
    assert verify(evidence).problems[0] == f"{name}: missing" + " or unreadable" * (name == "manifest.json")


def test_a_file_too_many_a_link_and_a_path_outside(evidence: Path, tmp_path: Path) -> None:
    (evidence / "extra.txt").write_text("x")
    assert verify(evidence).problems == ["extra.txt: no part of the evidence"]
    (evidence / "extra.txt").unlink()
    edit(evidence / "manifest.json", lambda data: data["files"].update({"../c.json": {"size": 1, "sha256": "0"}}))
    assert verify(evidence).problems == ["../c.json: no part of the evidence"]
    report = evidence / "report.html"
    report.rename(tmp_path / "report.html")
    report.symlink_to(tmp_path / "report.html")
    assert verify(evidence).problems == ["report.html: no regular file"]
    report.unlink()
    os.mkfifo(report)
    (evidence / "manifest.json").unlink()
    (evidence / "manifest.json").symlink_to("/dev/zero")
    assert verify(evidence).problems == ["manifest.json: no regular file", "report.html: no regular file"]


def test_settings_that_lead_nowhere(evidence: Path) -> None:
    for change in (
        lambda data: data.update(method="os:system"),
        lambda data: data.update(format="x"),
        lambda data: data["settings"].pop("seed"),
        lambda data: data["settings"].update(seed="a"),
    ):
        whole = (evidence / "settings.json").read_text()
        edit(evidence / "settings.json", change)
        write_manifest(evidence)
        found = verify(evidence)
        assert not found.ok
        assert any("settings.json" in problem and "\n" not in problem for problem in found.problems)
        (evidence / "settings.json").write_text(whole)


def test_settings_and_findings_changed_together(evidence: Path) -> None:
    """A level that was raised after the audit, with everything else to match."""
    settings = SETTINGS | {"alpha": 0.2}
    edit(evidence / "settings.json", lambda data: data.update(settings=settings))
    findings = json.loads(json.dumps(analyse(ARRAYS, settings), default=float))
    (evidence / "findings.json").write_text(json.dumps(findings))
    write_manifest(evidence)
    assert verify(evidence).problems == [
        "settings.json: not the settings that were committed to: alpha is 0.2, committed to 0.05"
    ]


@pytest.mark.parametrize(
    "opened",
    [None, {}, [], {"recipe": {}, "salt": "zz", "groups": {}}, {"recipe": 1, "salt": "00", "groups": {"recipe": "00"}}],
)
def test_openings_that_open_nothing(evidence: Path, opened: Any) -> None:
    edit(evidence / "settings.json", lambda data: data.update(opening=opened))
    write_manifest(evidence)
    assert "does not lead to the root" in verify(evidence).problems[0]


def test_elsewhere_a_last_digit_may_differ(evidence: Path) -> None:
    edit(evidence / "findings.json", lambda data: data["tests"][0].update(statistic=0.5 + 1e-12))
    write_manifest(evidence)
    assert verify(evidence).notes[0] == "4 numbers were computed again and agree within 1e-06"
    edit(evidence / "settings.json", lambda data: data["made_with"].update(numpy="1.0"))
    write_manifest(evidence)
    found = verify(evidence)
    assert found.ok
    assert "within 1e-06 (here with another numpy)" in found.notes[0]
    edit(evidence / "findings.json", lambda data: data["tests"][0].update(statistic=0.50001))
    write_manifest(evidence)
    assert not verify(evidence).ok


def test_what_cannot_be_written(tmp_path: Path) -> None:
    given: dict[str, Any] = {"settings": SETTINGS, "arrays": ARRAYS, "findings": analyse(ARRAYS, SETTINGS)}
    with pytest.raises(UserError, match="method: `nothing` has no findings"):
        write_evidence(tmp_path / "e", method="nothing", **given)
    with pytest.raises(BurnishError, match=r"findings\.json: cannot be stored"):
        write_evidence(tmp_path / "e", method=METHOD, **(given | {"findings": {"p": float("nan")}}))
    with pytest.raises(BurnishError, match="a set has no form in JSON"):
        write_evidence(tmp_path / "e", method=METHOD, **(given | {"settings": {"seed": {1}}}))
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="no such evidence folder"):
        verify(tmp_path / "e")


FLOATS = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0)  # no -0.0, which equals 0.0
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(one=JSON, other=JSON)
def test_differences_are_found_and_only_those(one: Any, other: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert bool(differences(one, other, exact=True)) != same
    assert not differences(one, json.loads(json.dumps(one)), exact=True)


def test_evidence_of_the_first_format_still_agrees(tmp_path: Path) -> None:
    """Its findings did not name the deciding test; evidence of today must."""
    arrays, settings = made(60, effect=0.4)
    found = dov4cl.analyse(arrays, settings)
    folder = write_evidence(tmp_path / "evidence", method="dov4cl", settings=settings, arrays=arrays, findings=found)
    assert verify(folder).ok
    edit(folder / "findings.json", lambda data: data.pop("deciding"))
    write_manifest(folder)
    assert "deciding is missing" in verify(folder).problems[0]
    edit(folder / "settings.json", lambda data: data.update(format="burnish evidence 1"))
    write_manifest(folder)
    assert verify(folder).ok
