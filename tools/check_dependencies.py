"""Check that every distribution imports only what is installed with it.

All distributions are installed into one virtual environment here, so nothing would stop the miner from importing
what only admission depends on; in its own container it would then fail. Each import of a package must be covered by
a dependency that the distribution itself declares, or one of ours that it depends on (core's msgspec structs are
used everywhere). What an outside package happens to bring along does not count.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator, Mapping, Sequence

from tools.workspace import ROOT, Distribution, distributions, outside_needs


def imported_packages(source: str) -> Iterator[tuple[int, str]]:
    """Yield line number and top-level package of every absolute import in a module's source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.partition(".")[0]


def plain_name(requirement: str) -> str:
    """Return the normalised package name at the start of a requirement string."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;(]", requirement, maxsplit=1)[0]).lower()


def undeclared(
    distribution: Distribution, members: Mapping[str, Distribution], providers: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Yield a complaint for every import that no declared dependency covers.

    Args:
        distribution: whose modules are checked.
        members: all distributions of this repository by name.
        providers: the names of the installed packages that provide a top-level package.
    """
    own = {name.replace("-", "_"): name for name in members}
    outside = {plain_name(need) for need in outside_needs(distribution.name, members)}
    declared = outside | {plain_name(need) for need in distribution.needs} | {distribution.name}
    for path in sorted((distribution.folder / "src").rglob("*.py")):
        for line, package in imported_packages(path.read_text(encoding="utf-8")):
            if package in sys.stdlib_module_names:
                continue
            by = [own[package]] if package in own else [plain_name(name) for name in providers.get(package, [])]
            if not declared.intersection(by):
                hint = " or ".join(sorted(set(by))) or "something that is not installed"
                place = f"{path.relative_to(ROOT)}:{line}"
                yield f"{place}: imports {package}, but {distribution.name} does not depend on {hint}"


def main() -> int:
    """Check all distributions; the exit status is 1 if anything was found."""
    members = distributions()
    providers = importlib.metadata.packages_distributions()
    complaints = [each for member in members.values() for each in undeclared(member, members, providers)]
    for complaint in complaints:
        sys.stderr.write(f"{complaint}\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
