"""The training core with nothing but torch, transformers, peft and pyarrow: a step and an answer.

    python tests/helpers/core_alone.py

Libraries that no other library needs are hidden from the import system; those that torch or
transformers bring along may be imported by these, but not by regimen. Prints one line of JSON: how
many modules were imported, and the losses of the steps.
"""

import builtins
import importlib
import json
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

HIDDEN = {
    *("pydantic", "bitsandbytes", "torchao", "zstandard", "tenacity", "vl_convert", "rapidfuzz"),
    *("scipy", "sklearn", "trl", "datasets", "hypothesis", "jaxtyping", "beartype", "pytest"),
    *("sacrebleu", "nltk", "py3langid", "liger_kernel", "cut_cross_entropy", "flash_attn"),
}
"""Not there at all."""
OTHERS = {"yaml", "typer", "rich", "jinja2", "httpx", "regex", "psutil"}
"""There for torch, transformers and peft alone."""
PARTS = ("tokens", "models", "objectives", "adapters", "training", "generation", "memory")
ASIDE = ("models.int8", "models.triton.rows", "generation.endpoints", "generation.stored")
"""Modules for a library of their own, and answers of models behind a network."""


class Without(PathFinder):
    """Finds modules on the path, but not hidden ones."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            return None
        return super().find_spec(name, path, target)


def guard():
    """Hide libraries, and refuse regimen what only others may import."""
    sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
    plain = builtins.__import__

    def checked(name, globals=None, locals=None, fromlist=(), level=0):
        importer = str((globals or {}).get("__name__", ""))
        if importer.partition(".")[0] == "regimen" and name.partition(".")[0] in OTHERS:
            raise ModuleNotFoundError(f"{importer} imports {name}")
        return plain(name, globals, locals, fromlist, level)

    builtins.__import__ = checked


def modules():
    """Names of the modules of the core, from the files."""
    root = Path(importlib.import_module("regimen").__file__).parent
    for part in PARTS:
        for path in sorted((root / part).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            if not name.startswith(ASIDE):
                yield f"regimen.{name}"


def small():
    """A drawn model with LoRA, prepared."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from regimen.adapters.lora import Lora
    from regimen.adapters.methods import add_adapter
    from regimen.models.forward import prepare

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    config = LlamaConfig(vocab_size=50, num_attention_heads=2, max_position_embeddings=64, **sizes)
    return prepare(add_adapter(LlamaForCausalLM(config), Lora(r=2, alpha=4.0), seed=0))


def stepped(model):
    """Losses of four steps over two rows."""
    from regimen.objectives.supervised import Supervised
    from regimen.tokens.rendering import Rendered
    from regimen.tokens.store import token_rows
    from regimen.training.loop import Hooks, train
    from regimen.training.optimizers import OPTIMIZERS, parameter_groups
    from regimen.training.options import LoopOptions

    rows = token_rows(Rendered(tuple(range(1, n)), (0.0, *[1.0] * (n - 2))) for n in (6, 9))
    losses = []
    options = LoopOptions(learning_rate=3e-2, max_steps=4, num_train_epochs=None, log_every=1)
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model.model, 0.0))
    hooks = Hooks(log=lambda _state, told: losses.append(told["loss"]))
    train(model, rows, Supervised(), optimizer, options, hooks)
    return losses


def answered(model):
    """Ids that the model goes on with."""
    from regimen.generation.engine import Engine
    from regimen.generation.rows import Prompt

    prompts = [Prompt("greedy", (1, 2, 3), 4), Prompt("drawn", (1, 2), 4, temperature=1.0)]
    return {name: len(found.ids) for name, found in Engine(model, (0,)).generate(prompts)}


def main():
    os.environ["REGIMEN_KERNELS"] = "off"
    guard()
    names = list(modules())
    for name in names:
        importlib.import_module(name)
    model = small()
    print(json.dumps({"modules": len(names), "losses": stepped(model), "told": answered(model)}))


if __name__ == "__main__":
    main()
