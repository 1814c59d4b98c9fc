"""Every kind of IFEval on made-up answers. Run: pytest tests/judging/ifeval/test_kinds.py"""

from __future__ import annotations

import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import EvaluationError, MissingExtraError
from regimen.judging.ifeval.kinds import ENGLISH, KINDS, check
from regimen.records import Constraint

BEE = "The bee leaves the hive at dawn and comes home with pollen on its legs."
ABEILLE = "L'abeille quitte la ruche à l'aube et revient avec du pollen sur les pattes."
ABEJA = "La abeja sale de la colmena al amanecer y vuelve con polen en las patas."

# name: arguments, an answer that satisfies it, one that does not
Case = tuple[dict[str, Any], str, str]

ENGLISH_CASES: dict[str, Case] = {
    "keywords:existence": ({"keywords": ["Bee", "dawn"]}, BEE, "The bee sleeps."),
    "keywords:frequency": (
        {"keyword": "bee", "frequency": 2, "relation": "at least"},
        "Bees and a beetle.",
        "A bee.",
    ),
    "keywords:forbidden_words": ({"forbidden_words": ["bee"]}, "A beetle.", "A Bee!"),
    "keywords:letter_frequency": (
        {"letter": "z", "let_frequency": 2, "let_relation": "less than"},
        "Zebra",
        "Zigzag",
    ),
    "language:response_language": ({"language": "fr"}, ABEILLE, BEE),
    "length_constraints:number_sentences": (
        {"num_sentences": 2, "relation": "at least"},
        "Dr. Wu came. She left!",
        "Dr. Wu came",
    ),
    "length_constraints:number_paragraphs": ({"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
    "length_constraints:number_words": (
        {"num_words": 3, "relation": "less than"},
        "two words",
        "one two three",
    ),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "pollen"},
        "A bee.\n\nPollen, of course.",
        "A bee.\n\nPollens, of course.",
    ),
    "detectable_content:number_placeholders": (
        {"num_placeholders": 2},
        "[name] lives in [place].",
        "[name] lives here.",
    ),
    "detectable_content:postscript": (
        {"postscript_marker": "P.P.S"},
        "Bye.\np. p. s. Feed the cat.",
        "Bye.\nP.S. Feed the cat.",
    ),
    "detectable_format:number_bullet_lists": (
        {"num_bullets": 2},
        "* a\n- b\n**c**",
        "* a\n- b\n* c",
    ),
    "detectable_format:constrained_response": ({}, "My answer is maybe.", "Maybe."),
    "detectable_format:number_highlighted_sections": (
        {"num_highlights": 2},
        "*one* and **two**",
        "*one* and ** **",
    ),
    "detectable_format:multiple_sections": (
        {"section_spliter": "Day", "num_sections": 2},
        "Day 1\nrest\nDay 2\nwork",
        "Day 1\nrest\nDay two\nwork",
    ),
    "detectable_format:json_format": ({}, '```JSON\n{"bee": [1, 2]}\n```', "{'bee': 1}"),
    "detectable_format:title": ({}, "<<Bees>>\nThey fly.", "<< >>\nThey fly."),
    "combination:two_responses": ({}, "Yes.\n******\nNo.", "Yes.\n******\nYes."),
    "combination:repeat_prompt": (
        {"prompt_to_repeat": "Name a bee."},
        "name a bee. Maja.",
        "Maja. Name a bee.",
    ),
    "startend:end_checker": (
        {"end_phrase": "That is all."},
        '"Bees. THAT is all."',
        "That is all!",
    ),
    "startend:quotation": ({}, ' "A bee." ', '"A bee.'),
    "change_case:capital_word_frequency": (
        {"capital_frequency": 2, "capital_relation": "at least"},
        "The BEE flies HOME.",
        "The BEE flies Home.",
    ),
    "change_case:english_capital": ({}, BEE.upper(), BEE),
    "change_case:english_lowercase": ({}, BEE.lower(), BEE),
    "punctuation:no_comma": ({}, "bees; wasps", "bees, wasps"),
}

OTHER_CASES: dict[str, Case] = {
    # Spanish
    "es:change_case:spanish_capital": ({}, ABEJA.upper(), ABEJA),
    "es:change_case:spanish_lowercase": ({}, ABEJA.lower(), BEE.lower()),
    "es:detectable_content:postscript": (
        {"postscript_marker": "Nota"},
        "Adiós.\n**Nota:** hay miel.",
        "Adiós.\nHay una nota notable.",
    ),
    "es:detectable_format:constrained_response": ({}, "Quizás.", "Piano."),
    "es:punctuation:exclamation_marks": ({}, "¡Qué miel!", "Qué miel!"),
    "es:punctuation:question_marks": ({}, "¿Hay miel?", "Hay miel?"),
    "es:special_character:dieresis": (
        {"let_frequency": 1},
        "Un pingu\u0308ino.",
        "Un pingüe pingüino.",
    ),
    "es:special_character:enie": ({"let_frequency": 2}, "El niño y la NIÑA.", "El niño."),
    "es:special_character:tildes": (
        {"num_words": 1, "relation": "como máximo"},
        "Un árbol y una niña.",
        "Un árbol y un jardín.",
    ),
    "es:startend:quotation": ({}, "«Hay miel.»", "'Hay miel.'"),
    # French
    "fr:change_case:french_capital": ({}, ABEILLE.upper(), ABEILLE),
    "fr:change_case:french_lowercase": ({}, ABEILLE.lower(), ABEILLE),
    "fr:detectable_content:informal_address": (
        {},
        "Tu verras que t'es prêt pour ton voyage.",
        "Votre ton me plaît, vous savez.",
    ),
    "fr:detectable_content:no_digits": ({}, "Six ans.", "\u0663 ans."),
    "fr:detectable_content:postscript": (
        {"postscript_marker": "P.-S."},
        "Adieu.\n\nP.-S. : du miel.",
        "Adieu, dit-il, p.-s. du miel.",
    ),
    "fr:detectable_format:constrained_response": ({}, "Peut-être.", "Téléphone non"),
    "fr:detectable_format:title": ({}, "##Le miel##\nIl est doux.", "## Le miel\nIl est doux."),
    "fr:special_character:accents": (
        {"word_to_accentuate": {"lecon": "leçon", "ete": "été", "gap": None}},
        "La lec\u0327on de l'été.",
        "La leçon de l'ete.",
    ),
    "fr:special_character:ethel_or_cedilla": ({"forbidden_char": "œ"}, "Un oeuf.", "Œuf."),
    "fr:special_character:no_accents": ({}, "Un garçon.", "Un garçon fâché."),
    "fr:startend:quotation": ({}, "« Du miel. »", "« Du miel."),
    # Japanese
    "ja:detectable_content:postscript": (
        {"postscript_marker": "追伸"},
        "さようなら。\n追伸を一つ。",
        "さようなら。これは追伸。",
    ),
    "ja:detectable_format:constrained_response": ({}, "はい、そうです。", "はい。"),
    "ja:detectable_format:multiple_sections": (
        {"section_spliter": "章", "num_sections": 2},
        "第1章 蜂\n第二章 花",
        "1章 蜂\n2章 花",
    ),
    "ja:detectable_format:nominal_ending": (
        {"count": 2},
        "花に集まる蜂。甘いハチミツ。おいしいです。",
        "花に集まる蜂。甘いハチミツです。",
    ),
    "ja:detectable_format:number_bullet_lists": (
        {"num_bullets": 2},
        "・蜂\n・花",
        "・蜂\n・花\n・木",
    ),
    "ja:detectable_format:number_highlighted_sections": (
        {"num_highlights": 2},
        "《蜂》と《花》",
        "《蜂》と花",
    ),
    "ja:detectable_format:number_numbered_lists": (
        {"num_items": 2},
        "1. 蜂\n2. 花",
        "1. 蜂 2. 花",
    ),
    "ja:detectable_format:title": ({}, "『蜂の国』\n昔々", "「蜂の国」\n昔々"),
    "ja:keywords:forbidden_words": ({"forbidden_words": ["蜂"]}, "花が咲く。", "蜜蜂が飛ぶ。"),
    "ja:length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "蜂"},
        "花が咲く。\n\n蜂が飛ぶ。",
        "蜂が飛ぶ。\n\n花が咲く。",
    ),
    "ja:length_constraints:number_letters": (
        {"num_letters": 5, "relation": "以上"},
        "蜂が飛ぶ。",
        "蜂が飛ぶ",
    ),
    "ja:length_constraints:number_sentences": (
        {"num_sentences": 2, "relation": "未満"},
        "「蜂が飛ぶ。」",
        "蜂が飛ぶ。花が咲く。",
    ),
    "ja:letters:furigana": ({}, "蜂（はち）が飛（と）ぶ。", "蜂（はち）が飛ぶ。"),
    "ja:letters:hiragana_only": ({}, "はちがとぶ、ぶーん。", "ハチがとぶ。"),
    "ja:letters:kanji": ({"kanji_limit": 2, "relation": "以上"}, "蜂が飛ぶ。", "ハチが飛ぶ。"),
    "ja:letters:kansuuji": ({}, "蜂が三匹、二〇年。", "蜂が３匹。"),
    "ja:letters:katakana_only": ({}, "ハチガトブ、ブーン。", "ハチがトブ。"),
    "ja:letters:no_hiragana": ({}, "蜂、飛翔。", "蜂が飛翔。"),
    "ja:letters:no_katakana": ({}, "蜂が飛ぶ。", "ﾊﾁが飛ぶ。"),
    "ja:punctuation:no_comma": ({}, "蜂が飛ぶ。", "蜂が、飛ぶ。"),
    "ja:punctuation:no_period": ({}, "蜂が飛ぶ！", "蜂が飛ぶ。"),
    "ja:startend:quotation": ({}, "「蜂が飛ぶ。」", "蜂が「飛ぶ。」"),
    "ja:startend:sentence_unified_end": (
        {"ending": "です"},
        "蜂です。「花です。」",
        "蜂です。花が咲きます。",
    ),
}


def case_of(kind: str) -> Case:
    """The case of a kind; where a language has no check of its own, that of English."""
    name = kind[3:] if kind[2] == ":" else kind
    if kind in OTHER_CASES:
        return OTHER_CASES[kind]
    assert KINDS[kind] == ENGLISH[name]
    return ENGLISH_CASES[name]


def test_every_check_has_a_case_of_its_own() -> None:
    assert ENGLISH_CASES.keys() == ENGLISH.keys()
    own = {kind for kind in KINDS if KINDS[kind] != ENGLISH.get(kind.split(":", 1)[1])}
    assert OTHER_CASES.keys() == own - ENGLISH.keys()
    assert len(ENGLISH) == 25


def test_true_and_false() -> None:
    for kind in KINDS:
        arguments, good, bad = case_of(kind)
        constraint = Constraint(kind=kind, arguments=arguments)
        assert check(constraint, good), kind
        assert not check(constraint, bad), kind


@pytest.mark.parametrize("answer", ["", " \n\t", "\u3000"])
def test_a_blank_answer_satisfies_nothing(answer: str) -> None:
    constraints = [Constraint(kind=kind, arguments=case_of(kind)[0]) for kind in KINDS]
    assert [one.kind for one in constraints if check(one, answer)] == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].needs])
def test_every_argument_is_needed_and_read_whatever_the_answer(kind: str) -> None:
    arguments, good, bad = case_of(kind)
    for name in KINDS[kind].needs:
        rest = {key: value for key, value in arguments.items() if key != name}
        for values in (rest, arguments | {name: -1}, arguments | {name: None}):
            for answer in (good, bad, ""):
                with pytest.raises(EvaluationError, match=name) as error:
                    check(Constraint(kind=kind, arguments=values), answer)
                assert error.value.slug == "bad-constraint"
                assert kind in error.value.what


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        ({"num_words": 3, "relation": "at leest"}, "Did you mean 'at least'?"),
        ({"num_word": 3, "relation": "at least"}, "Did you mean 'num_words'?"),
        ({"num_words": 3, "relation": "at least", "language": "en"}, "Known: num_words, relation."),
        ({"num_words": 2.5, "relation": "at least"}, ""),
        ({"num_words": True, "relation": "at least"}, ""),
    ],
)
def test_bad_arguments_are_told_with_a_near_match(arguments: dict[str, Any], fix: str) -> None:
    with pytest.raises(EvaluationError) as error:
        check(Constraint(kind="length_constraints:number_words", arguments=arguments), "a")
    assert error.value.slug == "bad-constraint"
    assert error.value.fix == fix


@pytest.mark.parametrize("pairs", [{}, {"ete": None}, {"ete": 1}, {"ete": ""}, ["été"]])
def test_words_with_accents_are_texts_by_texts(pairs: object) -> None:
    constraint = Constraint(
        kind="fr:special_character:accents", arguments={"word_to_accentuate": pairs}
    )
    with pytest.raises(EvaluationError, match="word_to_accentuate"):
        check(constraint, "L'été.")


@given(st.sampled_from(sorted(KINDS)), st.booleans())
def test_normal_forms_are_one_text(kind: str, good: bool) -> None:
    arguments, *answers = case_of(kind)
    apart = unicodedata.normalize("NFD", answers[not good])
    assert check(Constraint(kind=kind, arguments=arguments), apart) == good


def test_whole_floats_of_tables_are_numbers() -> None:
    arguments = {"num_words": 2.0, "relation": "at least"}
    assert check(Constraint(kind="length_constraints:number_words", arguments=arguments), "a b")


def test_an_unknown_kind_is_told_with_a_near_match() -> None:
    with pytest.raises(EvaluationError) as error:
        check(Constraint(kind="fr:punctuation:no_coma"), "a")
    assert error.value.slug == "unknown-constraint"
    assert error.value.fix == "Did you mean 'fr:punctuation:no_comma'?"


def test_the_prompt_is_repeated_where_no_argument_says_what() -> None:
    constraint = Constraint(kind="combination:repeat_prompt")
    assert check(constraint, "Name a bee. Maja.", "Name a bee.")
    with pytest.raises(EvaluationError, match="prompt_to_repeat"):
        check(constraint, "Name a bee. Maja.")


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)
    constraint = Constraint(kind="language:response_language", arguments={"language": "fr"})
    with pytest.raises(MissingExtraError, match=r"regimen\[eval\]"):
        check(constraint, ABEILLE)
    assert check(Constraint(kind="punctuation:no_comma"), BEE)


@given(st.text(), st.text())
def test_a_comma_breaks_no_comma_in_every_language(before: str, after: str) -> None:
    for kind in KINDS:
        if kind.endswith("punctuation:no_comma"):
            assert not check(Constraint(kind=kind), f"{before},{after}")


@given(st.text(), st.integers(0, 5))
def test_at_least_and_less_than_are_opposites(answer: str, number: int) -> None:
    for kind, name, relation, more in (
        ("length_constraints:number_words", "num_words", "relation", {}),
        ("length_constraints:number_sentences", "num_sentences", "relation", {}),
        ("ja:length_constraints:number_sentences", "num_sentences", "relation", {}),
        ("ja:letters:kanji", "kanji_limit", "relation", {}),
        ("change_case:capital_word_frequency", "capital_frequency", "capital_relation", {}),
        ("keywords:letter_frequency", "let_frequency", "let_relation", {"letter": "a"}),
    ):
        found = [
            check(Constraint(kind=kind, arguments={name: number, relation: word, **more}), answer)
            for word in ("at least", "less than")
        ]
        assert sum(found) == bool(answer.strip())


@given(st.text(alphabet="aBé1 .*-\n,'\"ñß한語あア。[]<>#", max_size=60))
def test_no_answer_makes_a_check_fail(answer: str) -> None:
    for kind in KINDS:
        if "language" not in kind and "change_case" not in kind:
            arguments = case_of(kind)[0]
            assert check(Constraint(kind=kind, arguments=arguments), answer) in (True, False)


@given(st.text(max_size=40))
def test_only_one_script_excludes_the_other(answer: str) -> None:
    met = {
        name: check(Constraint(kind=f"ja:letters:{name}"), answer)
        for name in ("hiragana_only", "katakana_only", "no_hiragana", "no_katakana")
    }
    assert not (met["hiragana_only"] and (met["katakana_only"] or met["no_hiragana"]))
    assert not met["hiragana_only"] or met["no_katakana"]
    assert not met["katakana_only"] or met["no_hiragana"]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("detectable_format:title", "a >> b <<Bees>>", "a >> b << c"),
        ("detectable_format:title", "<<a> b>>", "<<\nBees>>"),
        ("detectable_format:title", "<<<Bees>>>", "<<<>>>"),
        ("fr:detectable_format:title", "# ##Le miel## ", "##  ##"),
        ("ja:detectable_format:title", "『『蜂』", "『　』"),
        ("es:punctuation:question_marks", "¿Qué?", "¿?"),
    ],
)
def test_marks_around_nothing_are_no_marks(kind: str, good: str, bad: str) -> None:
    assert check(Constraint(kind=kind), good)
    assert not check(Constraint(kind=kind), bad)


@pytest.mark.parametrize(
    ("answer", "number"), [("[[a]]", 1), ("[a\nb]", 0), ("]a[b][c]", 2), ("[] [", 1)]
)
def test_brackets_close_in_their_line(answer: str, number: int) -> None:
    def reaches(least: int) -> bool:
        kind = "detectable_content:number_placeholders"
        return check(Constraint(kind=kind, arguments={"num_placeholders": least}), answer)

    assert reaches(number)
    assert not reaches(number + 1)


@pytest.mark.parametrize("digits", ["7", "７", "٧", "७"])
def test_digits_of_every_script_are_digits(digits: str) -> None:
    assert not check(Constraint(kind="fr:detectable_content:no_digits"), f"Il y en a {digits}.")
    assert not check(Constraint(kind="ja:letters:kansuuji"), f"蜂が{digits}匹。")
    section = {"section_spliter": "Day", "num_sections": 1}
    kind = "detectable_format:multiple_sections"
    assert check(Constraint(kind=kind, arguments=section), f"Day {digits}\nrest")


def test_words_of_scripts_with_marks_are_whole() -> None:
    arguments = {"num_words": 2, "relation": "at least"}
    kind = "length_constraints:number_words"
    assert not check(Constraint(kind=kind, arguments=arguments), "हिन्दी")
    assert check(Constraint(kind=kind, arguments=arguments), "हिन्दी भाषा")
