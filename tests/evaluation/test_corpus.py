"""BLEU and chrF of a suite in its block. Run: pytest tests/evaluation/test_corpus.py"""

import pytest
import sacrebleu

from regimen.evaluation.metrics import metrics_named
from regimen.evaluation.runner import evaluate
from regimen.evaluation.systems import ComputedSystem
from regimen.records import Item, Lineage, Message

PAIRS = {
    "en": [("the cat sat on a mat", "the cat sat on the mat"), ("it is late now", "it is late")],
    "zh": [("猫坐在垫子上面", "猫坐在椅子上面"), ("天气很好", "天气很好")],
}
ITEMS = [
    Item(
        suite="translation",
        messages=(Message(role="user", content=answer),),
        references=(reference,),
        input=answer,
        lineage=Lineage(task=language, language=language),
    )
    for language, pairs in PAIRS.items()
    for answer, reference in pairs
]
SYSTEMS = {"copy_input": ComputedSystem(lambda item: item.input)}


def test_a_suite_has_its_own_bleu_by_tokenizer_and_signatures():
    block = evaluate(ITEMS, SYSTEMS, metrics_named("chrf", "bleu")).suites["translation"]
    found = block["corpus"]["bleu"]["copy_input"]
    assert sorted(found) == ["13a", "zh"]
    for tokenizer, language in (("13a", "en"), ("zh", "zh")):
        answers, references = zip(*PAIRS[language], strict=True)
        theirs = sacrebleu.corpus_bleu(answers, [references], tokenize=tokenizer).score / 100
        assert found[tokenizer]["score"] == pytest.approx(theirs)
        assert f"tok:{tokenizer}" in found[tokenizer]["signature"]
    answers, references = zip(*[pair for pairs in PAIRS.values() for pair in pairs], strict=True)
    chrf = block["corpus"]["chrf"]["copy_input"]["all"]
    assert chrf["score"] == pytest.approx(sacrebleu.corpus_chrf(answers, [references]).score / 100)
    assert block["systems"]["copy_input"]["score"] != pytest.approx(chrf["score"])


def test_other_metrics_have_no_score_of_a_suite():
    assert "corpus" not in evaluate(ITEMS, SYSTEMS, metrics_named("exact")).suites["translation"]
