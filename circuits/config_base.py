"""The base class of every part of a config, and the number types of config fields."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

LARGEST = 2**62  # a sum of two such numbers still fits the 64-bit integers of compiled code and of HDF5
PositiveInt = Annotated[int, Field(ge=1, le=LARGEST)]
NonNegativeInt = Annotated[int, Field(ge=0, le=LARGEST)]
LayerCount = Annotated[int, Field(ge=1, le=1000)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class Part(BaseModel):
    """Base class of a config and of its parts, such as the task; it is frozen and refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    def leaves(self) -> dict[str, Any]:
        """Every field's value as plain data, by the field's dotted name.

        Examples
        --------
        >>> import circuits
        >>> list(circuits.preset("merrill-2023").leaves())[2:5]
        ['task.kind', 'task.n', 'task.n_train']
        """
        values: dict[str, Any] = {}
        for name, value in self.model_dump(mode="json").items():
            part = getattr(self, name)
            inner = {f"{name}.{key}": leaf for key, leaf in part.leaves().items()} if isinstance(part, Part) else {}
            values |= inner or {name: value}
        return values
