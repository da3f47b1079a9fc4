"""What a method says of itself: one declarative manifest, found by the entry points of the group ``burnish.methods``.

Knows how to find a manifest and how to load what it names, late. Knows no method.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from burnish.core.errors import UserError, near, nearest
from burnish.core.launch import Parallel
from burnish.core.packages import Need, require
from burnish.core.paths import find_recipe, shipped
from burnish.core.recipe import Overrides, Recipe, method_of
from burnish.core.user_code import lent_code, line_in, look_in, refuse_namesake

GROUP = "burnish.methods"
Rows = Sequence[tuple[str, Any]]
"""What is checked, and what came out, as a method's ``check`` gives it: words, or numbers with their unit in the name
(``disk_bytes``)."""
Part = Literal["run", "check", "report", "study", "analyse"]
PARTS: tuple[Part, ...] = ("run", "check", "report", "study", "analyse")
Reference = str | Callable[..., Any]


@dataclass(frozen=True)
class Paper:
    """Where a method was published. The one place in the house that says so.

    Attributes:
        title: as published last.
        venue: conference or journal, short; "arXiv" for a preprint.
        year: of that publication.
        arxiv: number of the preprint, if there is one.
    """

    title: str
    venue: str
    year: int
    arxiv: str | None = None

    def __str__(self) -> str:
        preprint = f"arXiv:{self.arxiv}" if self.arxiv else "arXiv"
        where = f"{preprint}, {self.year}" if self.venue == "arXiv" else f"{self.venue} {self.year}"
        also = f", {preprint}" if self.arxiv and self.venue != "arXiv" else ""
        return f"{self.title} ({where}{also})"


@dataclass(frozen=True)
class Method:
    """The manifest of a method, of the house or of a plug-in. Without ``run`` the method is planned, not built.

    A part that does work is named as ``"module:function"`` and imported when it is first needed, so that listing all
    methods costs nothing; a method written in one file may give the function itself.

    Attributes:
        name: in ``method:`` of a recipe, and as entry point.
        recipe: its settings; a module that imports no heavy library.
        run: the loop, ``(recipe, run) -> path, number, text or plain data``; what it returns is kept with the run.
        label: its name in tables, as the paper writes it.
        capability: the folder of the house that it belongs to.
        paper: where it was published.
        claim: what the paper claims, in one line.
        check: ``(recipe) -> [(what, value)]``, or mappings with these two keys: what a recipe would do, without
            starting anything; what it would take are the rows of a :class:`burnish.core.forecast.Forecast`; raises
            UserError.
        report: ``(folder of a finished run) -> [Section]``.
        study: a :class:`burnish.core.study.Study`: the claim rebuilt small.
        analyse: a :class:`burnish.prove.evidence.analysis.Analysis`: how evidence that it leaves is computed again.
        needs: modules that must be importable before it can run, beyond Burnish's own dependencies.
        extra: which extra of the package brings them.
        parallel: how it uses processes: ``executor`` (the recipe's ``workers``), ``ranks`` (torchrun, srun), ``none``
            (one process). Started as more ranks than it can use it is refused before it begins.

    Raises:
        ValueError: a part is neither callable nor written ``module:function``, or a method that is built has no recipe.
    """

    name: str
    recipe: type[Recipe] | None = None
    run: Reference | None = None
    label: str = ""
    capability: str = ""
    paper: Paper | None = None
    claim: str = ""
    check: Reference | None = None
    report: Reference | None = None
    study: Reference | None = None
    analyse: Reference | None = None
    needs: tuple[str, ...] = ()
    extra: str = ""
    parallel: Parallel = "none"

    def __post_init__(self) -> None:
        for part in PARTS:
            given = getattr(self, part)
            if isinstance(given, str) and not all(given.partition(":")):
                raise ValueError(f"method {self.name}: {part}: `{given}` names nothing; write it as module:function")
        if self.run is not None and self.recipe is None:
            raise ValueError(f"method {self.name}: it has a loop (`run`) and no recipe class")

    @property
    def built(self) -> bool:
        """Whether it can run."""
        return self.run is not None

    @property
    def shown(self) -> str:
        """Its name for a person."""
        return self.label or self.name

    def settings(self) -> type[Recipe]:
        """The class of its recipes.

        Raises:
            UserError: the method is planned only.
        """
        if self.recipe is None:
            raise UserError(f"method: `{self.name}` ({self.shown}) is planned and not built yet")
        return self.recipe

    def require(self, recipe: Recipe) -> None:
        """Refuse a recipe without all that it needs: the method's own modules, and those of what the recipe names.

        Raises:
            UserError: names everything that is not installed, and one command that installs it.
        """
        self.settings()
        require(f"method: {self.name}", Need(self.needs, self.extra), *recipe.needs())

    def load(self, part: Part) -> Any:
        """Import a part; none if the method has no such part.

        Raises:
            UserError: the method is planned only, or what it needs is not installed.
        """
        if part in ("run", "check", "study"):
            self.settings()
            require(f"method: {self.name}", Need(self.needs, self.extra))
        given = getattr(self, part)
        return pkgutil.resolve_name(given) if isinstance(given, str) else given


def method_names() -> list[str]:
    """Names of all methods that installed packages bring, built or planned."""
    return sorted({point.name for point in importlib.metadata.entry_points(group=GROUP)})


def all_methods() -> tuple[list[Method], list[str]]:
    """Every manifest that can be loaded, built ones first, and one line about each that cannot."""
    found: list[Method] = []
    faults: list[str] = []
    for name in method_names():
        try:
            found.append(find_method(name))
        except UserError as error:
            faults.append(str(error))
    return sorted(found, key=lambda method: (not method.built, method.capability, method.name)), faults


def find_method(name: str) -> Method:
    """Load the manifest of ``name``: a registered method, or ``module:OBJECT`` importable from here.

    Raises:
        UserError: no such method; a package whose entry point cannot be loaded, or two packages that claim the name
            (each is named); the object is no :class:`Method`.
    """
    if ":" in name:
        return _checked(import_object(name, "method"), f"`{name}`")
    points = importlib.metadata.entry_points(group=GROUP, name=name)
    if not points:
        raise UserError(f"method: `{name}` is unknown; {nearest(name, method_names())} (your own: `module:OBJECT`)")
    packages = {_package(point): point for point in points}
    if len(packages) > 1:
        raise UserError(f"method: `{name}` is claimed by the packages {' and '.join(sorted(packages))}; uninstall one")
    package, point = packages.popitem()
    try:
        found = point.load()
    except (Exception, SystemExit) as error:
        cause = f"{type(error).__name__}: {error}"
        raise UserError(f"method: `{name}`: the package {package} that brings it is at fault: {cause}") from error
    method = _checked(found, f"`{name}` of the package {package}")
    if method.name != name:
        raise UserError(f"method: the package {package} is at fault: `{name}` is the method `{method.name}`")
    return method


def load_recipe(recipe: str | Path | Recipe | Mapping[str, Any], overrides: Overrides = ()) -> tuple[Method, Recipe]:
    """A recipe of whatever method it names, and that method's manifest.

    Args:
        recipe: a file, the name of a shipped one (``rmm/tiny``), a recipe, or its settings as a mapping.
        overrides: dotted settings that replace the recipe's, ``["a.b=1"]`` or ``{"a.b": 1}``.

    Raises:
        UserError: no such file or method, or a setting that is wrong, in one line.
    """
    if isinstance(recipe, Recipe):
        method = find_method(recipe.method)
        if not isinstance(recipe, method.settings()):
            wanted = method.settings().__name__
            raise UserError(f"recipe: a {type(recipe).__name__} says `method: {method.name}`, which takes a {wanted}")
        return method, recipe.changed(overrides) if overrides else recipe
    source = recipe if isinstance(recipe, Mapping) else find_recipe(str(recipe))
    if isinstance(source, Path) and not source.resolve().is_relative_to(shipped("recipes")):
        look_in([source.resolve().parent])
    method = find_method(method_of(source, overrides))
    return method, method.settings().load(source, overrides)


def _package(point: importlib.metadata.EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def _checked(found: Any, words: str) -> Method:
    if not isinstance(found, Method):
        raise UserError(f"method: {words} is a {type(found).__name__}, not a burnish.core.method.Method")
    return found


def checked_rows(found: Any, method: str) -> list[tuple[str, Any]]:
    """What a method's ``check`` gave, as pairs; it may give mappings with ``what`` and ``value``, as ``check`` does.

    Raises:
        UserError: something else; says which row, and what it should be.
    """
    wanted = 'give a list of (what, value), or of {"what": ..., "value": ...}'
    if isinstance(found, str | bytes | Mapping) or not isinstance(found, Iterable):
        raise UserError(f"method: the check of {method} gave a {type(found).__name__}; {wanted}")
    rows: list[tuple[str, Any]] = []
    for number, row in enumerate(found, 1):
        if isinstance(row, Mapping) and row.keys() == {"what", "value"}:
            rows.append((str(row["what"]), row["value"]))
        elif isinstance(row, tuple | list) and len(row) == 2:
            rows.append((str(row[0]), row[1]))
        else:
            raise UserError(f"method: row {number} of the check of {method} is {str(row)[:80]}; {wanted}")
    return rows


def import_object(reference: str, setting: str) -> Any:
    """The object that ``module:attribute`` names; the working directory is on the path, and the folder of the recipe's
    file after it. It is the user's own code.

    Raises:
        UserError: the module or the attribute does not exist, or a module of that name was imported from elsewhere.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or module_name.startswith(".") or not attribute:
        raise UserError(f"{setting}: `{reference}` names nothing; write it as module:OBJECT")
    look_in(())
    refuse_namesake(module_name, setting)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{setting}: no module named `{error.name}` (from `{reference}`, looked in {Path.cwd()})"
        ) from None
    except Exception as error:
        where = line_in(error, lent_code(reference))
        at = f" ({where})" if where else ""
        raise UserError(f"{setting}: importing `{module_name}` failed: {type(error).__name__}: {error}{at}") from error
    found = getattr(module, attribute, None)
    if found is None:
        meant = near(attribute, (name for name in vars(module) if not name.startswith("_")))
        hint = f"; did you mean `{meant}`?" if meant else ""
        raise UserError(f"{setting}: `{module_name}` has no `{attribute}`{hint}")
    return found
