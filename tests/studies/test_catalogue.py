import pytest

from burnish.core.errors import UserError
from burnish.core.method import all_methods
from burnish.studies.catalogue import find_study, judged

STUDIED = [method.name for method in all_methods()[0] if method.study is not None]


@pytest.mark.parametrize("name", STUDIED)
def test_every_study_that_is_built_loads_and_was_judged(name: str) -> None:
    assert find_study(name).title
    stored = judged(name)
    assert stored is not None
    assert stored.study == name


def test_what_has_no_study_says_why() -> None:
    with pytest.raises(UserError, match="did you mean `sakd`"):
        find_study("sakdd")
    with pytest.raises(UserError, match=r"\(Some Day\) is planned and not built yet; studies: "):
        find_study("tests.core.loops:PLANNED")
    with pytest.raises(UserError, match="has no study"):
        find_study("tests.core.loops:METHOD")
    assert judged("someday") is None
