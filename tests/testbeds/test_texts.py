"""Texts: e-mails as they came, procedural tasks, real ones where they are in the cache."""

from collections import Counter

import pytest

from burnish.testbeds.corpora import readable
from burnish.testbeds.data import describe_data, list_data
from burnish.testbeds.phrases import AROUND, REVIEWS, drawn
from burnish.testbeds.texts import PROCEDURAL, TASKS, has_data

MAIL = """From a@b.c Thu Aug 22 13:17:22 2002
Received: from nowhere
Subject: Win  now!
Content-Type: text/html; charset="iso-8859-1"
Content-Transfer-Encoding: quoted-printable

<html><head><title>no</title></head><body><!-- x --><p>Dear=20friend,</p>
<script>bad()</script>win &amp; smile</body></html>
"""


def test_an_email_as_a_reader_sees_it() -> None:
    assert readable(MAIL) == ("Win now!", "Dear friend, win & smile")
    assert readable("Subject: hi\n\nplain <b>text</b>") == ("hi", "plain <b>text</b>")
    assert readable("no header at all") == ("", "no header at all")
    two = 'Content-Type: multipart/mixed; boundary="q"\n\n--q\nContent-Type: image/png\n\nzz\n--q\n\nwords\n--q--\n'
    assert readable(two) == ("", "words")
    assert readable("Subject: =?bad?=\nContent-Transfer-Encoding: base64\n\n@@@")[0] == "=?bad?="


@pytest.mark.parametrize("name", PROCEDURAL)
def test_procedural_texts_are_balanced_and_the_same_again(name: str) -> None:
    rows = TASKS[name][1]()
    counts = Counter(row["label"] for row in rows)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert rows == TASKS[name][1]()
    assert not any("{" in row["text"] for row in rows)
    assert len({row["text"] for row in rows}) > 2000
    assert has_data(name)


def test_a_label_is_said_in_its_text() -> None:
    for row in drawn("reviews", REVIEWS, 50, 3):
        said = row["text"].lower()
        assert any(part.lower() in said for part in REVIEWS[row["label"]])
        other = next(label for label in REVIEWS if label != row["label"])
        assert not any(part.lower() in said for part in REVIEWS[other])
        assert any(part.split("{")[0].strip().lower() in said for part in AROUND["reviews"])


@pytest.mark.parametrize(("name", "classes", "least"), [("emails", 2, 6000), ("subjects", 2, 3000), ("emoji", 9, 1800)])
def test_real_texts(name: str, classes: int, least: int) -> None:
    if not has_data(name):
        pytest.skip(f"the texts of `{name}` are not in the cache: burnish data {name}")
    rows = TASKS[name][1]()
    assert len(rows) >= least
    assert len({row["label"] for row in rows}) == classes
    assert all(row["text"].strip() for row in rows)
    assert "Received:" not in rows[0]["text"]


def test_corpora_are_listed_and_described() -> None:
    assert {"emails", "sentences"} <= {row["data"] for row in list_data()}
    if not has_data("emails"):
        pytest.skip("the e-mails are not in the cache: burnish data emails")
    told = {row["what"]: row["value"] for row in describe_data("emails")}
    assert told["texts"] == 6046
    assert told["classes"] == "ham 4150, spam 1896"
