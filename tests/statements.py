"""The SQL of the product, found by reading its modules: a new statement is prepared by the tests without being listed in any of them.

A statement is an upper-case string constant of a module, or a ``.sql`` file beside it, with one of VERBS in it; what defines tables is
left out. Whatever else has such a word in it fails to be prepared, which is better than to be overlooked.
"""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Final

VERBS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "LOCK", "SET")
_VERB: Final = re.compile(rf"\b({'|'.join(VERBS)})\b")
_DEFINES: Final = re.compile(r"(\s*--[^\n]*\n)*\s*(CREATE|ALTER|DROP|DO)\b")
_CONSTANT: Final = re.compile(r"_?[A-Z][A-Z0-9_]*")


def statements(*names: str, but: tuple[str, ...] = ()) -> dict[str, str]:
    """Those of the modules, or of all modules of the packages, of these names: ``<module>.<constant>`` or ``<package>/<file>`` → SQL.

    ``but``: modules to leave out. Fails where one of the names has none.
    """
    found: dict[str, str] = {}
    for name in names:
        some = [texts for module, texts in statements_by_module(name).items() if module not in but]
        assert some, f"no statement was found in {name}"
        for texts in some:
            found |= texts
    return found


def statements_by_module(name: str) -> dict[str, dict[str, str]]:
    """The same, for each module that has any. A package has the files that none of its modules reads into a constant. Fails without any."""
    found = {module: texts for module in _modules(name) if (texts := _chosen(_constants_of(module)))}
    known = {text for texts in found.values() for text in texts.values()}
    for module in _modules(name):
        files = _chosen(_files_beside(module))
        if unread := {key: text for key, text in files.items() if text not in known}:
            found[module] = found.get(module, {}) | unread
    assert found, f"no statement was found in {name}"
    return found


def _modules(name: str) -> Iterator[str]:
    """The module itself, and those in it."""
    yield name
    for found in walk_packages(getattr(import_module(name), "__path__", ()), f"{name}."):
        if not found.name.endswith("__main__"):
            yield found.name


def _constants_of(name: str) -> dict[str, object]:
    module = import_module(name)
    return {f"{name}.{constant}": getattr(module, constant) for constant in _constants(Path(module.__file__ or ""))}


def _files_beside(name: str) -> dict[str, object]:
    """Of a package, the files in its folder."""
    path = Path(import_module(name).__file__ or "")
    files = sorted(path.parent.glob("*.sql")) if path.name == "__init__.py" else []
    return {f"{name}/{file.name}": file.read_text() for file in files}


def _chosen(texts: dict[str, object]) -> dict[str, str]:
    strings = {key: text for key, text in texts.items() if isinstance(text, str)}
    return {key: text for key, text in strings.items() if _VERB.search(text) and not _DEFINES.match(text)}


def _constants(path: Path) -> Iterator[str]:
    """The names that the module itself gives, not those that it imports."""
    for node in ast.parse(path.read_text()).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name) and _CONSTANT.fullmatch(target.id):
                yield target.id
