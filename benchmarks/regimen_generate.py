"""regimen's side of the work `generate`: prompts continued greedily, in one process.

python benchmarks/regimen_generate.py WORK OUT '{"rounds": 3}'
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers.models.llama.modeling_llama  # noqa: F401 - both sides import it

from measure import Recorder
from regimen.generation.engine import Engine
from regimen.generation.rows import Prompt
from regimen.models.forward import prepare
from regimen.models.hardware import set_up
from regimen.models.loading import ModelSpec, load_model
from work import NEW_TOKENS, prompts, read


def main(work: Path, out: Path, settings: Mapping[str, Any]) -> None:
    """Generate and write what was measured to ``out``."""
    recorder = Recorder()
    hardware = set_up()
    asked = [Prompt(str(i), ids, NEW_TOKENS) for i, ids in enumerate(prompts(read(work)))]
    engine = Engine(
        prepare(load_model(ModelSpec(path=str(work / "model")))),
        [],
        rows=len(asked),
        bf16=hardware.bf16 and not settings.get("fp32", False),
    )
    recorder.begin()
    for _ in range(int(settings["rounds"])):
        found = dict(engine.generate(asked))
        recorder.step(sum(len(it.ids) for it in found.values()), 0, 0.0)
    recorder.write(
        out,
        versions={name: version(name) for name in ("regimen", "transformers", "torch")},
        threads=torch.get_num_threads(),
        ids=[list(found[prompt.id].ids) for prompt in asked],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
