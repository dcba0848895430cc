"""Modular arithmetic as addition on a cyclic group, where a network's circuit is simple.

Each operand stands for an element of Z_m, x for a_x and y for a_y, so that the operation is s = a_x + a_y (mod m):

    x + y    m = p        x = a_x      y = a_y       result s; likewise for more than two operands
    x - y    m = p        x = a_x      y = -a_y      result s
    x * y    m = p - 1    x = g^a_x    y = g^a_y     result g^s; a_x is the discrete logarithm of x
    x / y    m = p - 1    x = g^a_x    y = g^-a_y    result g^s

Products and quotients need a prime p and residues other than 0; g is the smallest primitive root of p. Power et al.
2022, Nanda et al. 2023 and Gromov 2023 (arXiv 2301.02679) study x + y. Fourier analysis uses only the group Z_m.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from einops import rearrange
from jaxtyping import Int

from circuits.config import Config

OPERATIONS = ("x+y", "x-y", "x*y", "x/y")
MOST_NUMBERS = 16_000_000  # tuples times neurons or classes: arrays of 128 MB in float64, several per thread


@dataclass(frozen=True, eq=False)
class CyclicGroup:
    """An operation mod p, such as x * y, rewritten as a sum mod m of *elements*, the integers 0, 1, ..., m - 1.

    For x * y mod 5, m is 4, and the element a stands for 2^a mod 5. So 4 * 4 becomes 2 + 2, which is 0 mod 4. The
    element 0 stands for 2^0 = 1, the result of 4 * 4 mod 5. In general, the element a stands for the residue
    `residues[i, a]` as operand i, and for the result `classes[a]`. Each row of `tuples` is one choice of all operands,
    such as (x, y). For row j, `sums[j]` is the sum mod m of the elements, and the result is `classes[sums[j]]`.

    Examples
    --------
    >>> group = cyclic_group("x/y", 5)
    >>> group.order, group.residues.tolist(), group.classes.tolist(), group.sum
    (4, [[1, 2, 4, 3], [1, 3, 4, 2]], [1, 2, 4, 3], 'log x - log y')
    >>> group.tuples[5].tolist(), int(group.sums[5]), int(group.classes[group.sums[5]])  # 2 / 3 = 4 mod 5
    ([2, 3], 2, 4)
    """

    residues: Int[np.ndarray, "operand element"]
    """For each operand, the residue mod p that each element 0, 1, ..., m - 1 of the cyclic group stands for."""
    classes: Int[np.ndarray, " element"]
    """Result of the operation for each sum s of the operands in the cyclic group: for x + y, `classes[s]` is s. For
    x * y mod 5, s is the sum of the discrete logarithms of x and y to base 2, and `classes[s]` is 2^s mod 5."""

    sum: str = "x + y"
    """The operation as text, written as a sum or a difference. For x * y, this text is "log x + log y"."""

    @property
    def order(self) -> int:
        """Number of elements m of the group."""
        return len(self.classes)

    @property
    def n_operands(self) -> int:
        """Number of operands K."""
        return len(self.residues)

    @cached_property
    def elements(self) -> Int[np.ndarray, "tuple operand"]:
        """All m^K tuples of K operands, each one of the m elements of the group; the last operand changes fastest."""
        return rearrange(np.indices((self.order,) * self.n_operands), "operand ... -> (...) operand")

    @cached_property
    def tuples(self) -> Int[np.ndarray, "tuple operand"]:
        """All tuples of operands, such as (x, y), one per row; the last operand changes fastest.

        Each operand takes its residues mod p in the order of the cyclic group. For x * y mod 5, this order is 1, 2, 4,
        3 (the powers of 2). So the rows are (1, 1), (1, 2), (1, 4), (1, 3), (2, 1), ...
        """
        return np.stack([row[column] for row, column in zip(self.residues, self.elements.T, strict=True)], axis=1)

    @cached_property
    def sums(self) -> Int[np.ndarray, " tuple"]:
        """For each tuple of operands, the sum mod m of the elements 0, 1, ..., m - 1 that the operands stand for."""
        return self.elements.sum(axis=1) % self.order

    @cached_property
    def by_sum(self) -> Int[np.ndarray, "element tuple_of_sum"]:
        """Row s has the ascending indices of all tuples of operands, such as (x, y), whose sum is s.

        An index is a row of the array `tuples`. For x + y mod 3, row 0 is [0, 5, 7], for (0, 0), (1, 2) and (2, 1).
        """
        return np.argsort(self.sums, kind="stable").reshape(self.order, -1)  # m rows of m^(K-1) indices

    def positions(self, operands: Int[np.ndarray, "example operand"]) -> Int[np.ndarray, " example"]:
        """Index in `tuples` of each tuple of residues; -1 if a residue is 0 and the group excludes 0.

        Examples
        --------
        >>> cyclic_group("x*y", 5).positions(np.array([[1, 1], [2, 4], [0, 1]])).tolist()
        [0, 6, -1]
        """
        places = np.zeros(len(operands), np.int64)
        outside = np.zeros(len(operands), bool)
        for residues, column in zip(self.residues, operands.T, strict=True):
            element = np.full(max(int(residues.max()), int(column.max(initial=0))) + 1, -1)
            element[residues] = np.arange(self.order)
            places = places * self.order + element[column]
            outside |= element[column] < 0
        return np.where(outside, -1, places)


def cyclic_group(operation: str, p: int, n_operands: int = 2) -> CyclicGroup:
    """Cyclic group on which an operation modulo `p` is a sum; the operation is x+y, x-y, x*y or x/y.

    `p` is at least 2, and a prime for x*y and x/y. `n_operands` is 2; for x+y it may be larger.

    Raises
    ------
    ValueError
        `operation` is not one of these four, or it is x*y or x/y and `p` is not a prime.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"'{operation}' is not a sum on a cyclic group, unlike {', '.join(OPERATIONS)}")
    if operation in ("x+y", "x-y"):
        elements = np.arange(p)
    else:
        g = primitive_root(p)
        if g is None:
            raise ValueError(
                f"p = {p} is not a prime, so the residues other than 0 are not a group under '{operation}'"
            )
        elements = powers(g, p)
    inverted = operation in ("x-y", "x/y")
    last = np.roll(elements[::-1], 1) if inverted else elements  # the element at -a
    return CyclicGroup(np.stack([elements] * (n_operands - 1) + [last]), elements, _sum(operation, n_operands))


def _sum(operation: str, n_operands: int) -> str:
    """Text that writes an operation as a sum or a difference: "x + y" for x+y, "log x - log y" for x/y."""
    names = "xyzw"[:n_operands] if n_operands <= 4 else ["x1", "…", f"x{n_operands}"]
    logarithm = "" if operation in ("x+y", "x-y") else "log "
    return (" - " if operation in ("x-y", "x/y") else " + ").join(logarithm + name for name in names)


def powers(g: int, p: int) -> Int[np.ndarray, " exponent"]:
    """Powers g^0, g^1, ..., g^(p-2) mod p.

    Examples
    --------
    >>> powers(3, 7).tolist()
    [1, 3, 2, 6, 4, 5]
    """
    elements = [1]
    for _ in range(p - 2):
        elements.append(elements[-1] * g % p)
    return np.array(elements)


def primitive_root(p: int) -> int | None:
    """Smallest g whose powers are all residues 1..p-1; None if p is not a prime.

    Examples
    --------
    >>> [primitive_root(p) for p in (2, 3, 7, 23, 97, 113)], primitive_root(9)
    ([1, 2, 3, 5, 5, 3], None)
    """
    return next((g for g in range(1, p) if len(set(powers(g, p).tolist()) - {0}) == p - 1), None)


def is_cyclic(config: Config) -> str | None:
    """None if the measurement `fourier` applies to `config`, otherwise the reason why it does not.

    The task must be a sum on a cyclic group of at least 2 elements, and arrays over all inputs must fit into memory.

    Examples
    --------
    >>> import circuits
    >>> config = circuits.preset("modular-31")
    >>> is_cyclic(config), is_cyclic(config.replace(task__operation="x^2+y^2"))[:40]
    (None, "'x^2+y^2' is not a sum on a cyclic group")
    """
    if config.task.kind != "modular":
        return f"the task '{config.task.kind}' is not modular arithmetic, which fourier analyzes."
    task = config.task.model_dump()
    operation, p, n_operands = task["operation"], task["p"], task["n_summands"]
    widest = max([p, *(layer.width for layer in config.prunable_layers.values())])
    if operation in OPERATIONS and p**n_operands * widest > MOST_NUMBERS:
        return (
            f"{p}^{n_operands} tuples times {widest} neurons or classes are more than the {MOST_NUMBERS:,} numbers "
            f"that fourier holds in memory. Take a smaller p."
        )
    try:
        order = cyclic_group(operation, p, n_operands).order
    except ValueError as error:
        return f"{error}."
    if order < 2:
        return f"there is only one residue mod {p} other than 0, so '{operation}' has no frequency."
    return None
