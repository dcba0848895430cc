"""What is mutated, and the mutants: made by cosmic-ray, one drawn per place in the source, ranked by a seeded hash.

A mutant is known by its module, its function, the line and what the line becomes, never by a line number, so that a
change elsewhere in the file leaves it, and its rank in the sample, as they were.
"""

import ast
import hashlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
# Layer 1 knows neither runs nor HDF5: a measured module imports none of these.
NOT_LAYER_1 = ("circuits.checkpoints", "h5py", "h5netcdf")
# Operators left out: a variable for another needs arguments, a decorator of numba or of a cache changes speed only.
LEFT_OUT = ("core/VariableReplacer", "core/VariableInserter", "core/RemoveDecorator")
# An operator is replaced by its like only. `<<` in place of a division of floats raises, so any test kills it; `is` in
# place of `==` is the same for small integers.
ALIKE = (
    {"Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"},
    {"BitAnd", "BitOr", "BitXor"},
    {"LShift", "RShift"},
    {"Eq", "NotEq", "Lt", "LtE", "Gt", "GtE"},
    {"Is", "IsNot"},
)


@dataclass(frozen=True)
class Place:
    """One mutation that cosmic-ray offers: an operator, and at which of its occurrences in the module."""

    module: str
    function: str
    line: int
    column: int
    text: str
    operator: str
    occurrence: int
    repeat: int
    """How many like it, of this operator and text, come before it in the function."""

    def rank(self, seed: int) -> str:
        known_by = (seed, self.module, self.function, self.text, self.operator, self.repeat)
        return hashlib.sha256(repr(known_by).encode()).hexdigest()


@dataclass(frozen=True)
class Mutant:
    """A place and the source with the mutation applied."""

    place: Place
    becomes: str
    """The mutated line, stripped."""
    code: str

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """Module, function, line, what it becomes, and the operator: how `equivalent.toml` names a mutant."""
        at = self.place
        return at.module, at.function, at.text, self.becomes, at.operator


def imported(path: Path) -> set[str]:
    """Everything that a file imports, wherever in the file, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


def path_of(module: str, root: Path = ROOT) -> Path:
    return root.joinpath(*module.split(".")).with_suffix(".py")


def measured_modules(root: Path = ROOT) -> list[str]:
    """The modules of layer 1 and of the constructions: those of circuits/analysis by what they import."""
    found = []
    for package in ("analysis", "constructions"):
        for path in sorted((root / "circuits" / package).rglob("*.py")):
            outside = {name for name in imported(path) if name.startswith(NOT_LAYER_1)}
            if path.stem != "__init__" and not (package == "analysis" and outside):
                found.append(".".join(path.relative_to(root).with_suffix("").parts))
    return found


@lru_cache
def operators() -> dict[str, object]:
    """cosmic-ray's operators by name, without those left out."""
    kept = {}
    for name in operator_names():
        replaced = name.split("_")[1:] if name.startswith(("core/ReplaceBinary", "core/ReplaceComparison")) else None
        if name not in LEFT_OUT and (replaced is None or any(set(replaced) <= alike for alike in ALIKE)):
            kept[name] = get_operator(name)()
    return kept


def _regions(tree: ast.Module) -> tuple[list[tuple], list[tuple[tuple, tuple]]]:
    """Functions as (first line, last line, name), and spans without mutants: annotations, decorators, guards."""
    functions, skipped = [], []

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                name = f"{prefix}.{child.name}".lstrip(".")
                functions.append((child.lineno, child.end_lineno, name))
                skipped.extend(map(_span, child.decorator_list))
            for annotation in (getattr(child, "annotation", None), getattr(child, "returns", None)):
                if annotation is not None:
                    skipped.append(_span(annotation))
            guard = isinstance(child, ast.keyword) and child.arg == "strict"  # of zip, whose parts are as long
            if guard or (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
                skipped.append(_span(child))
            walk(child, name)

    walk(tree, "")
    return functions, skipped


def _span(node: ast.expr | ast.stmt | ast.keyword) -> tuple[tuple, tuple]:
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def places(module: str, root: Path = ROOT) -> list[Place]:
    """Every mutation that cosmic-ray offers in a module, in the order of its source."""
    source = path_of(module, root).read_text()
    lines = source.splitlines()
    functions, skipped = _regions(ast.parse(source))
    occurrences = dict.fromkeys(operators(), 0)
    repeats: dict[tuple, int] = {}
    found = []
    for node in ast_nodes(get_ast(source)):
        if node.type in ("name", "newline", "endmarker", "string", "fstring_string", "file_input", "suite"):
            continue
        for name, operator in operators().items():
            for start, _ in operator.mutation_positions(node):
                occurrence = occurrences[name]
                occurrences[name] += 1
                at = (start[0], len(lines[start[0] - 1][: start[1]].encode()))  # ast counts bytes
                if any(first <= at < last for first, last in skipped):
                    continue
                within = [one for one in functions if one[0] <= start[0] <= one[1]]
                function = within[-1][2] if within else ""
                text = lines[start[0] - 1].strip()
                repeat = repeats.setdefault((function, text, name), 0)
                repeats[function, text, name] += 1
                found.append(Place(module, function, *start, text, name, occurrence, repeat))
    return found


def mutant_at(place: Place, root: Path = ROOT) -> Mutant | None:
    """The mutant of a place; None if it is not Python or says the same."""
    source = path_of(place.module, root).read_text()
    code = mutate_code(source, get_operator(place.operator)(), place.occurrence)
    if code is None:
        return None
    try:
        if ast.dump(ast.parse(code)) == ast.dump(ast.parse(source)):
            return None
    except SyntaxError:
        return None
    lines = zip(source.splitlines(), code.splitlines(), strict=False)
    line, becomes = next((at, pair[1]) for at, pair in enumerate(lines, 1) if pair[0] != pair[1])
    return Mutant(place, becomes.strip(), code) if line == place.line else None


def ranked(modules: list[str], seed: int, root: Path = ROOT) -> Iterator[Mutant]:
    """Mutants in the order of their seeded hash; one per token, so that many replacements of an operator count once."""
    of_token: dict[tuple, Place] = {}
    for module in modules:
        for place in places(module, root):
            token = (module, place.line, place.column)
            if token not in of_token or place.rank(seed) < of_token[token].rank(seed):
                of_token[token] = place
    for place in sorted(of_token.values(), key=lambda one: one.rank(seed)):
        if mutant := mutant_at(place, root):
            yield mutant


def equivalent(path: Path = HERE / "equivalent.toml") -> dict[tuple, str]:
    """Reasons of the mutants that no test can kill, by their keys."""
    listed = tomllib.loads(path.read_text()).get("mutant", [])
    return {
        (one["module"], one["function"], one["line"], one["becomes"], one["operator"]): one["reason"] for one in listed
    }


def planted(source: str, compiled: bool) -> tuple[str, list[int]] | None:
    """The source with an error at the start of each function that numba compiles, or of each other; None without any.

    With it the lines, in the unchanged source, whose tests must notice: the first of each body.
    """
    lines, first_lines = source.splitlines(keepends=True), []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            body = [one for one in node.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
            if body and compiled == any("njit" in ast.unparse(one) for one in node.decorator_list):
                at = min(one.lineno for one in (body[0], *getattr(body[0], "decorator_list", ())))
                # In a loop: numba gives a function that surely raises no type, and its callers do not compile.
                error = 'for _ in range(1): raise RuntimeError("planted")'
                lines[at - 1] = f"{' ' * body[0].col_offset}{error}\n{lines[at - 1]}"
                first_lines.append(body[0].lineno)
    return ("".join(lines), first_lines) if first_lines else None
