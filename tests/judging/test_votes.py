"""pytest tests/judging/test_votes.py: judges made of judges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.instances.scripted import ScriptedGenerator
from regimen.judging.comparisons import AnswerPair, compare
from regimen.judging.judge import FunctionJudge, GeneratorJudge, Shown, Verdict
from regimen.judging.votes import PrincipleJudge, VotingJudge
from regimen.records import Item, Message


def item(text="q"):
    return Item(suite="s", messages=(Message(role="user", content=text),), references=())


class Saying:
    name = "saying"

    def __init__(self, *values):
        self.values = values

    def verdicts(self, shown):
        return tuple(
            Verdict(error="nonsense") if value is None else Verdict(value=value)
            for value in self.values
        )


PAIR = AnswerPair(item=item(), systems=("x", "y"), a=("one",), b=("two",))


@given(st.lists(st.sampled_from([1.0, 0.0, -1.0, None]), min_size=1, max_size=7))
def test_the_mean_of_the_votes_that_there_are_counts(votes):
    judge = VotingJudge(judges=tuple(Saying(vote) for vote in votes))
    (verdict,) = judge.verdicts([Shown(item(), (("a",), ("b",)))])
    given_votes = [vote for vote in votes if vote is not None]
    if not given_votes:
        assert verdict.value is None
        assert verdict.error == "nonsense"
    else:
        assert verdict.value == pytest.approx(sum(given_votes) / len(given_votes))
        assert not verdict.error


def test_soft_votes_of_both_orders_make_a_comparison():
    # forward 1, 1, 0 and backward (shown the other way round) -1, 0, 0
    judge = VotingJudge(judges=(Saying(1.0, -1.0), Saying(1.0, 0.0), Saying(0.0, 0.0)))
    (found,) = compare(judge, [PAIR])
    assert found.value == 1.0
    assert found.soft == pytest.approx((2 / 3 + 1 / 3) / 2)
    against = VotingJudge(judges=(Saying(1.0, 1.0), Saying(1.0, 0.0)))
    (found,) = compare(against, [PAIR])
    assert (found.value, found.consistent) == (0.0, False)


def test_votes_of_a_model_have_seeds_and_ids_of_their_own():
    asked = []

    def answer(request):
        asked.append((request.id, request.seed))
        return "[[A]]" if request.seed < 2 else "[[B]]"

    generator = ScriptedGenerator(answer)
    judge = VotingJudge(
        judges=tuple(
            GeneratorJudge(generator=generator, temperature=0.7, sample=n) for n in range(3)
        )
    )
    (verdict,) = judge.verdicts([Shown(item(), (("a",), ("b",)))])
    assert verdict.value == pytest.approx(1 / 3)
    assert len({name for name, _ in asked}) == 3
    assert [seed for _, seed in asked] == [0, 1, 2]


def test_a_pair_is_judged_by_one_principle_in_both_orders():
    judges = tuple(FunctionJudge(lambda prompt, a, b, n=n: (n + 1) / 8, str(n)) for n in range(4))
    judge = PrincipleJudge(judges=judges, seed=3)
    items = [item(f"q{n}") for n in range(40)]
    forward = [Shown(one, (("a",), ("b",))) for one in items]
    backward = [Shown(one, (("b",), ("a",))) for one in items]
    assert judge.verdicts(forward) == judge.verdicts(backward)
    assert {one.value for one in judge.verdicts(forward)} == {1 / 8, 2 / 8, 3 / 8, 4 / 8}
    other = PrincipleJudge(judges=judges, seed=4)
    assert other.verdicts(forward) != judge.verdicts(forward)
    assert judge.verdicts([]) == ()
