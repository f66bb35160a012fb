"""array-api-strict, with all switched off that a library may lack and still be one of the standard."""

from __future__ import annotations

from array_api_strict import ArrayAPIStrictFlags
from uniopt.conformance.peers.personality import Personality


def _strictest() -> ArrayAPIStrictFlags:
    return ArrayAPIStrictFlags(
        api_version="2024.12", boolean_indexing=False, data_dependent_shapes=False, enabled_extensions=()
    )


PERSONALITIES = {"strictest": Personality(_strictest)}
