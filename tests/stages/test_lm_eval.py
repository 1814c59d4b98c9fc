"""lm-eval's tasks through our model, next to lm-eval's own. Run: pytest -m parity -k lm_eval

Everything is local: a tiny model, task files and data written here.
"""

import json
from importlib.util import find_spec

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from regimen.errors import EvaluationError
from regimen.settings.lm_eval import LmEvalSettings
from regimen.stages.evaluate_lm_eval import lm_eval_block
from regimen.stages.models import LazyGenerator, load

# lm-eval takes seconds to import, so that nothing here does before a test runs.
pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(find_spec("lm_eval") is None, reason="the extra lm-eval is not installed"),
    pytest.mark.filterwarnings("ignore"),  # those of lm-eval and the libraries behind it
]

WORDS = ("dog", "cat", "cats", "dogs", "the cat")


def documents(count=14):
    return [
        {
            "question": f"the {'abcdef'[n % 6]} dog sees {'xyz'[n % 3]} what ?",
            "options": list(WORDS[: 3 + n % 3]),
            "label": n % 3,
            "answer": WORDS[n % 3],
            "text": " ".join(["the a dog sees x cats and the b cat sees y dogs"] * (1 + n % 4)),
        }
        for n in range(count)
    ]


def task(name, folder, **more):
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "test_split": "test",
        "fewshot_split": "test",
        "metadata": {"version": 1},
        **more,
    }


def mean(name):
    return {"metric": name, "aggregation": "mean", "higher_is_better": True}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A folder with one task of each kind of request."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, documents())))
    asked = {"doc_to_text": "{{question}}\nAnswer:", "target_delimiter": " "}
    made = [
        task(
            "animals_choice",
            folder,
            **asked,
            output_type="multiple_choice",
            doc_to_choice="{{options}}",
            doc_to_target="{{label}}",
            metric_list=[mean("acc"), mean("acc_norm"), mean("acc_mutual_info")],
        ),
        task(
            "animals_write",
            folder,
            **asked,
            output_type="generate_until",
            doc_to_target="{{answer}}",
            generation_kwargs={"until": ["\n", " the"], "max_gen_toks": 8, "do_sample": False},
            metric_list=[{**mean("exact_match"), "ignore_case": True}],
        ),
        task(
            "animals_text",
            folder,
            output_type="loglikelihood_rolling",
            doc_to_text="",
            doc_to_target="{{text}}",
            metric_list=[
                {
                    "metric": "word_perplexity",
                    "aggregation": "weighted_perplexity",
                    "higher_is_better": False,
                }
            ],
        ),
    ]
    for one in made:
        (folder / f"{one['task']}.yaml").write_text(yaml.safe_dump(one))
    return folder


NAMES = ["animals_choice", "animals_write", "animals_text"]


@pytest.fixture(scope="module")
def models(shared_project):
    """Two folders: a base, and one that differs; with ChatML in the tokenizer."""
    base = shared_project.folder / "base"
    found = load(str(base))
    found.tokenizer.chat_template = found.renderer.template
    made = {}
    for seed, name in enumerate(("one", "two")):
        folder = shared_project.folder / name
        model = AutoModelForCausalLM.from_pretrained(base)
        model.resize_token_embeddings(len(found.tokenizer))
        torch.manual_seed(seed)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
        model.save_pretrained(folder)
        found.tokenizer.save_pretrained(folder)
        made[name] = str(folder)
    return made


def ours(path, **more):
    from regimen.stages.lm_eval_model import RegimenLM

    return RegimenLM("one", load(path), **{"chat": False, **more})


def theirs(path):
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=AutoModelForCausalLM.from_pretrained(path),
        tokenizer=AutoTokenizer.from_pretrained(path),
        batch_size=3,
    )


def evaluated(model, folder, **more):
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    settings = {
        "tasks": NAMES,
        "task_manager": TaskManager(include_path=str(folder), include_defaults=False),
        "bootstrap_iters": 10,
        "fewshot_as_multiturn": more.get("apply_chat_template", False),
    }
    return simple_evaluate(model=model, **(settings | more))


@pytest.mark.parametrize("shots", [0, 2])
def test_plain_scores_and_likelihoods_are_those_of_hflm(models, tasks, shots):
    mine, other = (
        evaluated(made(models["one"]), tasks, num_fewshot=shots) for made in (ours, theirs)
    )
    for name in NAMES:
        scores = [
            {key: value for key, value in found["results"][name].items() if "," in key}
            for found in (mine, other)
        ]
        assert len(scores[0]) >= 2
        for key, value in scores[1].items():
            assert scores[0][key] == close(value, rel=1e-4), key
        for a, b in zip(mine["samples"][name], other["samples"][name], strict=True):
            assert a["arguments"] == b["arguments"]
            flat = [responses(one) for one in (a, b)]
            assert len(flat[0]) == len(flat[1])
            for left, right in zip(*flat, strict=True):
                assert left == close(right, abs=1e-4)


def responses(sample):
    """What the model said, as one flat list of numbers, flags and texts."""
    found = []
    for per_request in sample["resps"]:
        for each in per_request:
            found += list(each) if isinstance(each, tuple | list) else [each]
    return found


def close(value, **how):
    """A number up to rounding, anything else as it is."""
    return pytest.approx(value, **how) if isinstance(value, float) else value


def requests(kind, *arguments):
    from lm_eval.api.instance import Instance

    return [
        Instance(request_type=kind, doc={}, arguments=each, idx=n)
        for n, each in enumerate(arguments)
    ]


def test_what_is_longer_than_the_context_is_cut_and_counted(models):
    long = "the a dog sees x cats and " * 30
    pairs = [
        (long, " dogs"),
        ("the", " dogs"),
        (long, " the cat sees"),
        ("", "the cat"),
        ("the cat  ", "sees"),
    ]
    mine, other = ours(models["one"]), theirs(models["one"])
    asked = requests("loglikelihood", *pairs)
    found, wanted = mine.loglikelihood(asked), other.loglikelihood(asked, disable_tqdm=True)
    assert [one[0] for one in found] == pytest.approx([one[0] for one in wanted], abs=1e-4)
    assert [one[1] for one in found] == [one[1] for one in wanted]
    assert mine.truncated["loglikelihood"] == 2
    rolling = requests("loglikelihood_rolling", (long,), ("the cat",), ("",))
    assert mine.loglikelihood_rolling(rolling) == pytest.approx(
        other.loglikelihood_rolling(rolling, disable_tqdm=True), abs=1e-3
    )
    writing = requests(
        "generate_until",
        (long, {"until": [], "max_gen_toks": 9}),
        ("the", {"until": ["x"], "max_gen_toks": 9}),
    )
    assert mine.generate_until(writing) == other.generate_until(writing, disable_tqdm=True)
    assert mine.truncated["generate_until"] == 1


def test_chat_is_asked_with_the_ids_of_training(models, tasks):
    """HFLM moves the line's end before an answer into the answer; ours stands in the prompt."""
    mine, other = ours(models["one"], chat=True), theirs(models["one"])
    found, wanted = (
        evaluated(model, tasks, num_fewshot=1, apply_chat_template=True, tasks=["animals_choice"])
        for model in (mine, other)
    )
    end = mine.loaded.tokenizer.encode("\n", add_special_tokens=False)
    compared = 0
    for a, b in zip(
        found["samples"]["animals_choice"], wanted["samples"]["animals_choice"], strict=True
    ):
        assert a["arguments"] == b["arguments"]
        contexts = [context for context, _ in a["arguments"] if context]
        assert contexts[0].endswith("<|im_start|>assistant\n")
        ids = mine._context(contexts[0])
        assert list(ids[-len(end) :]) == end
        bare = [(None, list(ids[: -len(end)]), end)]
        ((newline, _),) = mine._loglikelihood_tokens(bare)
        left, right = responses(a)[::2], responses(b)[::2]
        for place, (context, continuation) in enumerate(a["arguments"]):
            joined = mine.loaded.tokenizer.encode("\n" + continuation, add_special_tokens=False)
            apart = end + mine.loaded.tokenizer.encode(continuation, add_special_tokens=False)
            if context and joined == apart:
                assert left[place] + newline == pytest.approx(right[place], abs=1e-4)
                compared += 1
    assert compared > 20


def test_a_begun_answer_goes_on_from_where_it_is(models):
    mine = ours(models["one"], chat=True)
    text = mine.apply_chat_template(
        [{"role": "user", "content": "what ?"}, {"role": "assistant", "content": "the dog"}],
        add_generation_prompt=False,
    )
    assert text.endswith("<|im_start|>assistant\nthe dog")
    context, rest = mine._encode_pair(text, " sees")
    assert mine.loaded.tokenizer.decode(context) == text
    assert mine.loaded.tokenizer.decode(rest) == " sees"


def test_the_choices_of_a_document_share_its_prompt(models, tasks, monkeypatch):
    from regimen.models.forward import LanguageModel

    read = []
    honest = LanguageModel.hidden
    monkeypatch.setattr(
        LanguageModel,
        "hidden",
        lambda self, batch, *rest: read.append(batch.num_tokens) or honest(self, batch, *rest),
    )
    mine = ours(models["one"])
    found = evaluated(mine, tasks, tasks=["animals_choice"], num_fewshot=1)
    contexts, rests, apart = set(), 0, 0
    for sample in found["samples"]["animals_choice"]:
        for context, continuation in sample["arguments"]:
            ids, rest = mine._encode_pair(context, continuation) if context else ([0], [0, 0])
            apart += len(ids) + len(rest) - 1
            if context:
                contexts.add(tuple(ids))
                rests += len(rest) - 1
    unasked = {c for s in found["samples"]["animals_choice"] for n, c in s["arguments"] if not n}
    assert sum(read) <= sum(map(len, contexts)) + rests + 14 * 5 * max(map(len, unasked))
    assert sum(read) < apart / 2


def lazy(models):
    return {
        name: LazyGenerator(name, lambda path=path: load(path))
        for name, path in (("base", models["one"]), ("tuned", models["two"]))
    }


def test_the_block_compares_models_by_document(models, tasks, capsys):
    section = LmEvalSettings(tasks=tuple(NAMES), include_path=str(tasks), num_fewshot=1)
    systems = ("base", "tuned", "base_prompted")
    block = lm_eval_block(section, systems, lazy(models), 3)
    assert json.loads(json.dumps(block, allow_nan=False)) == block
    assert block["apply_chat_template"] == {"base": True, "tuned": True, "base_prompted": False}
    choice = block["tasks"]["animals_choice"]
    assert choice["n"] == 14
    entry = choice["metrics"]["acc,none"]
    assert set(entry["systems"]) == {"base", "tuned", "base_prompted"}
    paired = entry["paired"]["tuned-base"]
    assert (paired["n"], paired["clusters"]) == (14, 14)
    scores = {name: each["score"] for name, each in entry["systems"].items()}
    assert paired["difference"] == pytest.approx(scores["tuned"] - scores["base"])
    assert set(entry["paired"]) == {"tuned-base", "tuned-base_prompted"}
    # A perplexity is no mean of documents: two scores, no difference by document.
    perplexity = block["tasks"]["animals_text"]["metrics"]["word_perplexity,none"]
    assert perplexity["higher_is_better"] is False
    assert perplexity["paired"] == {}
    assert perplexity["systems"]["base"]["score"] != perplexity["systems"]["tuned"]["score"]
    assert lm_eval_block(section, systems, lazy(models), 3) == block
    assert lm_eval_block(None, systems, lazy(models), 3) == {}


def test_what_lm_eval_does_not_know_is_told_with_a_near_name(models, tasks):
    section = LmEvalSettings(tasks=("animals_choise",), include_path=str(tasks))
    with pytest.raises(EvaluationError) as error:
        lm_eval_block(section, ("base", "tuned"), lazy(models), 0)
    assert error.value.slug == "lm-eval-task-unknown"
    assert "animals_choice" in error.value.fix


def test_a_task_without_its_data_is_an_error_that_names_it(models, tasks, tmp_path):
    broken = task("animals_lost", tmp_path, output_type="generate_until", doc_to_text="x")
    (tmp_path / "lost.yaml").write_text(yaml.safe_dump(broken))
    section = LmEvalSettings(tasks=("animals_lost",), include_path=str(tmp_path))
    with pytest.raises(EvaluationError) as error:
        lm_eval_block(section, ("base", "tuned"), lazy(models), 0)
    assert error.value.slug == "lm-eval-failed"
    assert "animals_lost" in error.value.expected
