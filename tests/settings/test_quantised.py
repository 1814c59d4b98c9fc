"""Settings of quantised bases: pytest tests/settings/test_quantised.py"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from regimen.settings.adapters import KINDS as ADAPTERS
from regimen.settings.quantised import KINDS, REFUSED, Quantise, QuantiseSettings, base_kind

READ: TypeAdapter[Any] = TypeAdapter(Quantise)


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_stands_for_the_defaults(kind: str) -> None:
    assert base_kind(READ.validate_python(kind)) == kind
    section = READ.validate_python({"kind": kind})
    assert base_kind(section) == kind
    assert section.double_quant


def test_double_quantisation_is_for_packed_kinds() -> None:
    assert not QuantiseSettings.model_validate({"kind": "fp4", "double_quant": False}).double_quant
    with pytest.raises(ValidationError, match="is for nf4 and fp4, and the kind is int8"):
        QuantiseSettings.model_validate({"kind": "int8", "double_quant": True})


def test_no_base_is_no_kind() -> None:
    assert base_kind(None) is None


def test_what_is_refused_are_kinds_of_adapters_and_bases() -> None:
    for adapter, (bases, why, nearest) in REFUSED.items():
        assert adapter in ADAPTERS
        assert set(bases) <= set(KINDS)
        assert why
        assert not nearest or (nearest in KINDS and nearest not in bases)
