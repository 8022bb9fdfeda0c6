"""What every section of a configuration is: typed, frozen, closed.

The string below a setting describes it wherever it is described: in schema.py, hence in editors, and in the reference.
"""

from pydantic import BaseModel, ConfigDict


class Closed(BaseModel):
    """A typed, frozen section that refuses unknown keys."""

    # As text an infinity (`--checkpoint-s inf`: never) stays one; by default it would become null.
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, ser_json_inf_nan="constants", use_attribute_docstrings=True
    )
