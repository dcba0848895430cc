"""Annotations of the package are checked while the tests run, wherever the function stands."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import jaxtyping
import numpy as np
import pytest
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float
from shapes import CHECKERS, jaxtyped

import circuits

checked = jaxtyped(typechecker=beartype)


def product(a: Float[np.ndarray, "row inner"], b: Float[np.ndarray, "inner column"]) -> Float[np.ndarray, "row column"]:
    return a @ b if len(a) < 5 else a


def count(n: int) -> str:
    return str(n) if n else n


def test_the_package_is_imported_with_this_decorator():
    assert jaxtyping.jaxtyped is jaxtyped


def test_sizes_that_differ_and_a_result_of_another_shape_are_refused():
    multiply = checked(product)
    assert multiply(np.ones((2, 3)), np.ones((3, 4))).shape == (2, 4)
    with pytest.raises(jaxtyping.TypeCheckError, match="parameters"):
        multiply(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(jaxtyping.TypeCheckError, match="return value"):
        multiply(np.ones((6, 3)), np.ones((3, 4)))


def test_annotations_without_shapes_are_checked():
    counted = checked(count)
    assert counted(3) == "3"
    for wrong in ("3", 0):
        with pytest.raises(BeartypeCallHintViolation):
            counted(wrong)


def test_a_function_inside_another_is_checked_with_a_checker_made_once():
    def outer(factor):
        @checked
        def inner(values: Float[np.ndarray, " bit"], twice: Callable | None = None) -> Float[np.ndarray, " bit"]:
            return values * factor if factor else values[1:]

        return inner

    before = len(CHECKERS)
    assert outer(2.0)(np.ones(3)).tolist() == [2, 2, 2]
    assert outer(3.0)(np.ones(2)).tolist() == [3, 3]
    assert len(CHECKERS) == before + 2  # of the arguments, and of the result
    for factor in (2.0, 3.0):
        with pytest.raises(jaxtyping.TypeCheckError, match="parameters"):
            outer(factor)(np.ones((2, 2)))
    with pytest.raises(jaxtyping.TypeCheckError, match="return value"):
        outer(0.0)(np.ones(3))


def test_what_differs_from_all_calls_that_passed_is_checked():
    @checked
    def first(
        values: Float[np.ndarray, " bit"], n: int | list[int] = 1, way: Literal["a", "b"] = "a"
    ) -> Float[np.ndarray, " n"]:
        return values[:1] if values[0] else values[:1].astype(int)

    ones = np.ones(3)
    for _ in range(2):
        assert first(ones).tolist() == [1]
        assert first(ones, [1, 2]).tolist() == first(ones, n=[1] * 40).tolist() == [1]
    for wrong in (
        (ones.astype(int),),
        (np.ones((3, 1)),),
        (ones, "1"),
        (ones, ["1", "2"]),
        (ones, 1, "c"),
        (list(ones),),
    ):
        with pytest.raises(jaxtyping.TypeCheckError, match="parameters"):
            first(*wrong)
    with pytest.raises(jaxtyping.TypeCheckError, match="parameters"):
        first(ones, n=["1"] * 40)
    with pytest.raises(jaxtyping.TypeCheckError, match="return value"):
        first(np.zeros(3))  # arguments like those that passed, but another result


def test_annotations_that_are_strings_are_checked_too_whatever_has_passed():
    def first(values: "Float[np.ndarray, ' bit']", n: "int") -> "Float[np.ndarray, ' one']":
        return values[:1] if values[0] else values[None]

    def half(n: "int") -> "float":
        return n / 2 if n else n

    ones = np.ones((2,))
    for function in (first, half):  # as at the top of a module
        function.__qualname__ = function.__name__
    first, half = checked(first), checked(half)
    for _ in range(2):
        assert (first(ones, 1).tolist(), half(1)) == ([1], 0.5)
    with pytest.raises(jaxtyping.TypeCheckError, match="parameters"):
        first(ones.astype(int), 1)
    with pytest.raises(jaxtyping.TypeCheckError, match="return value"):
        first(np.zeros((2,)), 1)  # arguments like those that passed
    with pytest.raises(BeartypeCallHintViolation):
        half(0)


def test_no_annotation_of_the_package_compares_numbers_or_counts_on_a_value():
    """Calls that differ in nothing else are not told apart."""
    for path in Path(circuits.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
                values = [one.value for one in ast.walk(node.slice) if isinstance(one, ast.Constant)]
                if node.value.id == "Literal":
                    assert all(isinstance(value, str) for value in values), path
                if hasattr(jaxtyping, node.value.id):
                    assert not any("{" in value for value in values if isinstance(value, str)), path


def test_a_function_without_annotations_stays_as_it_is():
    def tap(name, value):
        return value

    assert checked(tap) is tap
