"""Conversations of two turns before a scripted judge.

pytest tests/evaluation/test_judged.py
"""

from regimen.evaluation.judged import Judging, judge_answers
from regimen.instances.scripted import ScriptedGenerator
from regimen.judging.judge import GeneratorJudge
from regimen.records import Item, Lineage, Message


def test_two_turns_are_judged_with_the_references_of_both():
    asked = [
        Item(
            suite="mt_bench",
            messages=(Message(role="user", content=f"question {n}"),),
            references=("one", "two") if n % 2 else (),
            follow_ups=("Shorter, please.",),
            lineage=Lineage(category="math" if n % 2 else "writing"),
        )
        for n in range(20)
    ]
    given = {"tuned": [("first", "second")] * 20, "base": [("erste", "zweite")] * 20}
    seen = []

    def judge(request):
        text = request.messages[-1].text
        seen.append(text)
        return "[[A]]" if text.index("second") < text.index("zweite") else "[[B]]"

    how = Judging(
        judge=GeneratorJudge(generator=ScriptedGenerator(judge)), pairs=(("tuned", "base"),)
    )
    found = judge_answers(how, asked, given)
    block = found.blocks["mt_bench"]["tuned-base"]
    assert (block["win_rate"], block["position_consistency"], block["clusters"]) == (1, 1, 20)
    assert set(block["by_category"]) == {"math", "writing"}
    assert len(seen) == len(found.rows) == 40
    assert all("Shorter, please." in text and "erste" in text for text in seen)
    assert sum("Turn 2: two" in text for text in seen) == 20
