import pytest

from burnish.core.errors import UserError
from burnish.studies.catalogue import CATALOGUE, find


def test_ten_methods() -> None:
    assert len({entry.name for entry in CATALOGUE}) == 10
    assert find("rmm").exists
    with pytest.raises(UserError, match="did you mean `sakd`"):
        find("sakdd")
    with pytest.raises(UserError, match="not built yet"):
        find("mint").load()


@pytest.mark.parametrize("name", [entry.name for entry in CATALOGUE if entry.exists])
def test_every_study_that_is_built_loads(name: str) -> None:
    assert find(name).load().title
