"""The words for what is wrong with a field of a config, in place of pydantic's."""

from collections.abc import Mapping
from typing import Any

WORDING = {
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "must be a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "must be true or false"),
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "model_type": "must be an object with its fields",
    "literal_error": "must be one of {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "needs {min_length} or more values",
}


def problem(error: Mapping[str, Any]) -> str:
    """What is wrong, from one of the `errors()` of a `pydantic.ValidationError`.

    Examples
    --------
    >>> problem({"type": "greater_than", "ctx": {"gt": 0}, "msg": "Input should be greater than 0"})
    'must be more than 0'
    """
    if error["type"] in WORDING:
        return WORDING[error["type"]].format(**error.get("ctx", {}))
    return str(error["msg"]).removeprefix("Value error, ")
