"""The table of optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from regimen.training.optimizers.adamw import adamw, from_bitsandbytes, from_torchao
from regimen.training.optimizers.blocks import BAdam
from regimen.training.optimizers.fused import AdaLomo, Lomo
from regimen.training.optimizers.kinds import Groups, OptimizerKind
from regimen.training.optimizers.muon import MuonAdamW
from regimen.training.optimizers.projections import Apollo, GaLore, apollo_bytes, galore_bytes
from regimen.training.optimizers.signs import Lion, adafactor, sgd

_ADAM: Mapping[str, Any] = MappingProxyType({"betas": (0.9, 0.95), "eps": 1e-8})
_FACTORED: Mapping[str, Any] = MappingProxyType({"beta2_decay": -0.8, "clip_threshold": 1.0})
_BITSANDBYTES_SMALL = "State of tensors of fewer than 4,096 numbers stays in fp32."
_TORCHAO_SMALL = (
    "State of tensors of fewer than 4,096 numbers, or of a number that is no multiple of the "
    "quantisation's block, stays in fp32."
)
_PAGED = "Needs a CUDA device; elsewhere it is refused."
_HIDDEN = "Only hidden matrices whose shorter side is longer than the rank; AdamW for the rest."
_ONE_BATCH = "One micro-batch a step; not with AdaLoRA, which reads gradients after the step."


def _each(size: float) -> Any:
    return lambda rows, columns, options: size


def _blockwise(bits: int, block: int) -> Any:
    """Two moments in codes, with an fp32 scale for each block."""
    return _each(2 * (bits / 8 + 4 / block))


def _factored(rows: int, columns: int, options: Mapping[str, Any]) -> float:
    return 4 * (rows + columns) / (rows * columns)


def _momentum(rows: int, columns: int, options: Mapping[str, Any]) -> float:
    return 4.0 if options["momentum"] else 0.0


def _apollo_mini(groups: Groups, **options: Any) -> Apollo:
    return Apollo(groups, by_channel=False, rank=1, **options)


OPTIMIZERS: Mapping[str, OptimizerKind] = MappingProxyType(
    {
        "adamw": OptimizerKind(
            make=adamw,
            about="AdamW, fused",
            source="Loshchilov and Hutter 2017, arXiv 1711.05101",
            defaults=_ADAM,
            state_bytes=_each(8),
        ),
        "adamw_8bit": OptimizerKind(
            make=from_bitsandbytes("AdamW8bit"),
            about="AdamW, moments in 8 bits (bitsandbytes)",
            source="Dettmers et al. 2021, arXiv 2110.02861",
            defaults=_ADAM,
            state_bytes=_blockwise(8, 256),
            limits=_BITSANDBYTES_SMALL,
            library="bitsandbytes",
        ),
        "adamw_paged": OptimizerKind(
            make=from_bitsandbytes("PagedAdamW32bit", paged=True),
            about="AdamW, moments paged to the CPU's memory under pressure (bitsandbytes)",
            source="Dettmers et al. 2023, section 3, arXiv 2305.14314",
            defaults=_ADAM,
            state_bytes=_each(8),
            limits=_PAGED,
            library="bitsandbytes",
            cuda_only=True,
        ),
        "adamw_8bit_paged": OptimizerKind(
            make=from_bitsandbytes("PagedAdamW8bit", paged=True),
            about="AdamW, moments in 8 bits and paged (bitsandbytes)",
            source="Dettmers et al. 2023, section 3, arXiv 2305.14314",
            defaults=_ADAM,
            state_bytes=_blockwise(8, 256),
            limits=f"{_PAGED} {_BITSANDBYTES_SMALL}",
            library="bitsandbytes",
            cuda_only=True,
        ),
        "adamw_8bit_torchao": OptimizerKind(
            make=from_torchao("AdamW8bit"),
            about="AdamW, moments in 8 bits (torchao)",
            source="Dettmers et al. 2021, arXiv 2110.02861",
            defaults=_ADAM,
            state_bytes=_blockwise(8, 256),
            limits=_TORCHAO_SMALL,
            library="torchao",
        ),
        "adamw_4bit_torchao": OptimizerKind(
            make=from_torchao("AdamW4bit"),
            about="AdamW, moments in 4 bits (torchao)",
            source="Li et al. 2023, arXiv 2309.01507",
            defaults=_ADAM,
            state_bytes=_blockwise(4, 128),
            limits=_TORCHAO_SMALL,
            library="torchao",
        ),
        "adafactor": OptimizerKind(
            make=adafactor,
            about="Adafactor, second moment as rows and columns",
            source="Shazeer and Stern 2018, arXiv 1804.04235",
            defaults=_FACTORED,
            state_bytes=_factored,
            limits="Its learning rate is relative to the size of the weights: 1e-3 to 1e-2.",
        ),
        "lion": OptimizerKind(
            make=Lion,
            about="Lion, the sign of a momentum",
            source="Chen et al. 2023, algorithm 2, arXiv 2302.06675",
            defaults=MappingProxyType({"betas": (0.9, 0.99)}),
            state_bytes=_each(4),
            limits="Wants a learning rate 3 to 10 times below AdamW's.",
        ),
        "muon": OptimizerKind(
            make=MuonAdamW,
            about="Muon, orthogonal updates",
            source="Jordan et al. 2024, *Muon*",
            defaults=MappingProxyType({"momentum": 0.95, **_ADAM}),
            state_bytes=_each(4),
            limits="Only hidden matrices, at 10 times the learning rate; AdamW for the rest.",
        ),
        "galore": OptimizerKind(
            make=GaLore,
            about="GaLore, Adam in the gradient's principal directions",
            source="Zhao et al. 2024, algorithm 2, arXiv 2403.03507",
            defaults=MappingProxyType({**_ADAM, "rank": 128, "update_gap": 200, "scale": 0.25}),
            state_bytes=galore_bytes,
            limits=_HIDDEN,
        ),
        "apollo": OptimizerKind(
            make=Apollo,
            about="APOLLO, the gradient's channels scaled as Adam does in a random projection",
            source="Zhu et al. 2024, algorithm 1, arXiv 2412.05270",
            defaults=MappingProxyType({**_ADAM, "rank": 256, "update_gap": 200, "scale": 1.0}),
            state_bytes=apollo_bytes,
            limits=_HIDDEN,
        ),
        "apollo_mini": OptimizerKind(
            make=_apollo_mini,
            about="APOLLO-Mini, the whole gradient scaled by one factor, of rank 1",
            source="Zhu et al. 2024, arXiv 2412.05270",
            defaults=MappingProxyType({**_ADAM, "update_gap": 200, "scale": 128**0.5}),
            state_bytes=lambda rows, columns, options: apollo_bytes(rows, columns, {"rank": 1}),
            limits="Only hidden matrices; AdamW for the rest.",
        ),
        "lomo": OptimizerKind(
            make=Lomo,
            about="LOMO, SGD inside the backward pass",
            source="Lv et al. 2023, arXiv 2306.09782",
            state_bytes=_each(0),
            limits=f"{_ONE_BATCH} max_grad_norm bounds each tensor's gradient, not that of all.",
            fused=True,
        ),
        "adalomo": OptimizerKind(
            make=AdaLomo,
            about="AdaLOMO, Adafactor's moment inside the backward pass",
            source="Lv et al. 2023, algorithm 1, arXiv 2310.10195",
            defaults=_FACTORED,
            state_bytes=_factored,
            limits=f"{_ONE_BATCH} Updates of each tensor are normalised, and max_grad_norm has no "
            "part in it. Its learning rate is relative to the size of the weights.",
            fused=True,
        ),
        "badam": OptimizerKind(
            make=BAdam,
            about="BAdam, AdamW on one layer at a time",
            source="Luo et al. 2024, algorithm 1, arXiv 2404.02827",
            defaults=MappingProxyType({**_ADAM, "block_steps": 100}),
            state_bytes=_each(8),
            limits="Not with LISA and AdaLoRA. Layers that are not trained now have neither "
            "gradients nor state.",
            turns=True,
        ),
        "sgd": OptimizerKind(
            make=sgd,
            about="SGD with momentum",
            source="Polyak 1964; Sutskever et al. 2013",
            defaults=MappingProxyType({"momentum": 0.9}),
            state_bytes=_momentum,
        ),
    }
)
