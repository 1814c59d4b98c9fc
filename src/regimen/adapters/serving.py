"""Whether a server that loads LoRA adapters can load one: the rules of vLLM's loader.

Stated here as its source has them (vllm/lora: ``lora_model``, ``peft_helper``, ``utils``, 2026):

1. The folder has ``adapter_config.json`` with ``r``, ``lora_alpha`` and ``target_modules``, and
   ``adapter_model.safetensors``.
2. Every tensor is ``base_model.model.<module>.lora_A.weight`` or ``.lora_B.weight``; each module
   has both, of the rank that the config says.
3. No DoRA, no ``modules_to_save``, no bias.
4. The rank is at most what the server is started with (``--max-lora-rank``, 16 by default there).

The last part of a module's name has to be one of the linear layers that the server knows for the
architecture; which these are, the adapter cannot tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
NEEDED = ("r", "lora_alpha", "target_modules")


def problems(path: str | Path) -> list[str]:
    """What keeps vLLM from loading an adapter, in words; nothing if it would."""
    return list(_problems(Path(path)))


def _problems(path: Path) -> Iterator[str]:
    from safetensors import safe_open

    config = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))
    kind = str(config.get("peft_type", "")).upper()
    if kind != "LORA":
        yield f"{kind or 'its method'} is no LoRA"
        return
    missing = [name for name in NEEDED if not config.get(name)]
    if missing:
        yield f"adapter_config.json has no {', '.join(missing)}"
    if config.get("use_dora"):
        yield "it is a DoRA"
    if config.get("modules_to_save"):
        yield f"it brings whole modules: {', '.join(config['modules_to_save'])}"
    if config.get("bias", "none") != "none":
        yield "it trains biases"
    sides: dict[str, dict[str, tuple[int, ...]]] = {}
    others = []
    with safe_open(path / "adapter_model.safetensors", framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - the file has no iteration of its own
            match = _NAME.fullmatch(name)
            if match is None:
                others.append(name)
            else:
                shape = tuple(file.get_slice(name).get_shape())
                sides.setdefault(match["module"], {})[match["side"]] = shape
    if any("trainable_tokens" in name for name in others):
        yield "it trains rows of tokens; merge it into its base to serve it"
    elif others and not config.get("use_dora"):
        yield f"{others[0]} is no tensor of a LoRA"
    patterns = config.get("rank_pattern") or {}
    for module, found in sides.items():
        ranks = {found["A"][0], found["B"][1]} if len(found) == 2 else set()
        if len(found) != 2:
            yield f"{module} has one matrix of two"
        elif not patterns and ranks != {config["r"]}:
            yield f"{module} has another rank than {config['r']}"
