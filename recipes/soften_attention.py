"""The last step of the tiny base: queries and keys scaled down, so that attention can move again.

`python recipes/soften_attention.py MODEL OUT 0.5`

Muon's updates have one size whatever the gradient's, so attention scores grow without end: after
16 M tokens most heads look at one token alone, and a softmax that is 1 and 0 passes no gradient.
Such a base does what it has read, and tuning cannot teach it to look elsewhere. Kimi K2 (2025)
scales the same two matrices during training wherever a score passes a limit (QK-Clip).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

SCALED = ("q_proj.weight", "k_proj.weight")


def main() -> None:
    """Copy the model and scale both matrices of every layer; scores change by the square."""
    source, target, factor = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    shutil.copytree(source, target)
    weights = load_file(source / "model.safetensors")
    changed = {
        name: (value.float() * factor).to(value.dtype) if name.endswith(SCALED) else value
        for name, value in weights.items()
    }
    save_file(changed, target / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
