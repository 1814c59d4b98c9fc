"""The text of the tiny base model: permitted third-party text and the project's own generator.

`documents` reads the third-party text and `mixture` interleaves it with generated text up to a
byte budget. Sources, all public domain or of a permissive licence: Project Gutenberg books,
fairy tales, a sample of TinyStories, Shakespeare, and those storybooks in English, French and
Spanish whose own licence line is CC-BY or public domain.

`python recipes/tiny_base_corpus.py FOLDER` reads everything once and writes
`tiny_base_corpus.json` with documents and bytes by source into the working directory.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import zstandard

from regimen.assets.starter.text import documents as generated_documents

Sourced = tuple[str, str]

SHORTEST = 200
USUAL = 1_500
LONGEST = 3_000
HELDOUT_ONE_IN = 100
STORY_LANGUAGES = ("en", "fr", "es")
_FREE = re.compile(r"^(CC[ -]BY([ -]\d(\.\d)?)?|CC0|Public Domain)$", re.IGNORECASE)
_LICENCE = re.compile(r"^\* Licen[cs]e: *\[?([^\]\n]*)\]?", re.MULTILINE | re.IGNORECASE)
_CREDIT = re.compile(r"^\* [A-Z][A-Za-z ]{2,30}: ")
_GUTENBERG = re.compile(r"Project Gutenberg|SMALL PRINT|Gutenberg[- ]tm", re.IGNORECASE)
_FOOTER = re.compile(r"^\W*(End of (the |this )?Project Gutenberg|\*END)", re.IGNORECASE)


def _text(path: Path) -> str:
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        return stream.read().decode("utf-8")


def _bundle(path: Path) -> Iterator[dict[str, str]]:
    for line in _text(path).split("\n"):
        if line.strip():
            yield json.loads(line)


def _tidy(text: str) -> str:
    """One kind of line end, no control characters, no runs of blanks or empty lines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")
    text = "".join(c for c in text if c == "\n" or c == "\t" or c >= " ")
    text = re.sub(r"[ \t\u00a0]+\n", "\n", text)
    text = re.sub(r"[ \t\u00a0]{2,}", " ", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _unwrapped(paragraph: str) -> str:
    """Prose lines joined into one; verse and play lines, which are short, stay lines."""
    lines = [line.strip() for line in paragraph.split("\n")]
    long = sum(len(line) > 50 for line in lines[:-1])
    if len(lines) > 1 and long * 2 >= len(lines) - 1:
        return " ".join(lines)
    return "\n".join(lines)


def _paragraphs(text: str) -> list[str]:
    return [p for p in (_unwrapped(part) for part in _tidy(text).split("\n\n")) if p]


def _split_long(paragraph: str) -> Iterator[str]:
    """A paragraph longer than a document, cut at sentence ends or else at blanks."""
    while len(paragraph) > LONGEST:
        window = paragraph[:LONGEST]
        cut = max(window.rfind(mark) for mark in (". ", "! ", "? ", ".\n", '." '))
        cut = cut + 1 if cut > LONGEST // 4 else window.rfind(" ")
        cut = cut if cut > 0 else LONGEST
        yield paragraph[:cut].strip()
        paragraph = paragraph[cut:].strip()
    if paragraph:
        yield paragraph


def cut(paragraphs: list[str]) -> Iterator[str]:
    """Documents of about 500 to 3,000 characters, cut at paragraph borders.

    A last piece that is short joins the document before it where that fits; a text that is short
    as a whole stays one short document.
    """
    pages: list[list[str]] = [[]]
    size = 0
    for paragraph in (piece for whole in paragraphs for piece in _split_long(whole)):
        if pages[-1] and (size >= USUAL or size + len(paragraph) > LONGEST):
            pages.append([])
            size = 0
        pages[-1].append(paragraph)
        size += len(paragraph) + 2
    done = ["\n\n".join(page) for page in pages if page]
    if len(done) > 1 and len(done[-1]) < 500 and len(done[-2]) + len(done[-1]) + 2 <= LONGEST:
        done[-2:] = [done[-2] + "\n\n" + done[-1]]
    yield from done


def _books(shared: Path) -> Iterator[Sourced]:
    for row in _bundle(shared / "gutenberg-nltk" / "gutenberg_books.jsonl.zst"):
        if not row["path"].endswith(".txt"):
            continue
        text = re.sub(r"\A\s*\[[^\]]*\]", "", row["text"].replace("\r\n", "\n"))
        footer = next(
            (m.start() for m in re.finditer(r"^.*$", text, re.MULTILINE) if _FOOTER.match(m[0])),
            len(text),
        )
        kept = [p for p in _paragraphs(text[:footer]) if not _GUTENBERG.search(p)]
        yield from (("gutenberg-nltk", page) for page in cut(kept))


def _fairy_tales(shared: Path) -> Iterator[Sourced]:
    for row in _bundle(shared / "fairytaleqa" / "fairytaleqa_stories_csv.jsonl.zst"):
        if not row["path"].endswith(".csv"):
            continue
        table = list(csv.reader(io.StringIO(row["text"])))
        column = table[0].index("text")
        sections = [line[column] for line in table[1:] if len(line) > column]
        paragraphs = [p for section in sections for p in _paragraphs(_detokenised(section))]
        yield from (("fairytaleqa", page) for page in cut(paragraphs))


def _detokenised(text: str) -> str:
    """Blanks that a tokeniser put before marks and inside contractions are taken out."""
    text = re.sub(r" ([,.;:!?])", r"\1", text)
    return re.sub(r" ('(?:s|t|re|ve|ll|d|m)|n't)\b", r"\1", text)


def _tiny_stories(shared: Path) -> Iterator[Sourced]:
    text = _text(shared / "tinystories-sample" / "tinystories_sample.txt.zst")
    for story in text.split("<|endoftext|>"):
        yield from (("tinystories-sample", page) for page in cut(_lines(story)))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in _tidy(text).split("\n") if line.strip()]


def _shakespeare(shared: Path) -> Iterator[Sourced]:
    text = _text(shared / "tiny-shakespeare" / "tiny_shakespeare.txt.zst")
    speeches = [part for part in _tidy(text).split("\n\n") if part]
    yield from (("tiny-shakespeare", page) for page in cut(speeches))


def story_licence(text: str) -> str | None:
    """The licence line of a storybook, or None where it has none."""
    found = _LICENCE.findall(text)
    return found[-1].strip() if found else None


def is_free(licence: str | None) -> bool:
    """Whether a licence line says CC-BY or public domain, without a further condition."""
    return licence is not None and _FREE.match(licence) is not None


def _storybooks(shared: Path) -> Iterator[Sourced]:
    for row in _bundle(shared / "storybooks" / "storybooks.jsonl.zst"):
        language = row["language"]
        if language not in STORY_LANGUAGES or not is_free(story_licence(row["text"])):
            continue
        lines = [line for line in row["text"].splitlines() if not _CREDIT.match(line)]
        text = "\n".join(re.sub(r"^#+ ?", "", line) for line in lines)
        pages = cut([" ".join(part.split()) for part in _tidy(text).split("\n\n") if part])
        yield from ((f"storybooks-{language}", page) for page in pages)


_SOURCES = (_books, _fairy_tales, _tiny_stories, _shakespeare, _storybooks)


def is_heldout(text: str) -> bool:
    """About one document in a hundred, by a hash of its text alone."""
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HELDOUT_ONE_IN == 0


def documents(shared: str, split: str = "train", seed: int = 0) -> Iterator[Sourced]:
    """(source, text) of every permitted document of a split, in an order fixed by the seed.

    Exact duplicates and documents under 200 characters are left out. Raises: ValueError for a
    split other than `train` and `heldout`; FileNotFoundError where a source is absent.
    """
    if split not in ("train", "heldout"):
        raise ValueError(f"split is {split!r}; expected 'train' or 'heldout'")
    seen: set[str] = set()
    kept: list[Sourced] = []
    for source in _SOURCES:
        for name, text in source(Path(shared)):
            if len(text) < SHORTEST or text in seen:
                continue
            seen.add(text)
            if is_heldout(text) == (split == "heldout"):
                kept.append((name, text))
    Random(f"documents/{seed}").shuffle(kept)
    yield from kept


def _epochs(shared: str, seed: int, max_epochs: int) -> Iterator[str]:
    texts = [text for _, text in documents(shared, seed=seed)]
    for epoch in range(max_epochs):
        Random(f"epoch/{seed}/{epoch}").shuffle(texts)
        yield from texts


_WORD = re.compile(r"[^\W\d_]{2,}")
_JOINTS = (", ", " ", "; ", "\n", " - ", " / ", ". ")


def echoes(seed: int, language: str) -> Iterator[str]:
    """Lists of random words, said again in whole or in part: nothing but recall from the context.

    The words are those of the generated text, and every fourth is scrambled, so that the second
    saying cannot come from anywhere but the first. Half of them are joined the same way each time.
    """
    words: dict[str, None] = {}
    for text, _ in zip(generated_documents(seed + 1, language), range(4_000), strict=False):
        words.update(dict.fromkeys(word.lower() for word in _WORD.findall(text)))
    known = list(words)
    rng = Random(f"echo/{seed}/{language}")
    while True:
        items = [rng.choice(known) for _ in range(rng.randint(3, 12))]
        items = [
            "".join(rng.sample(item, len(item))) if rng.random() < 0.25 else item for item in items
        ]
        joint = rng.choice(_JOINTS) if rng.random() < 0.5 else None
        lines = [(joint or rng.choice(_JOINTS)).join(items)]
        for _ in range(rng.randint(1, 4)):
            start = rng.randrange(len(items)) if rng.random() < 0.5 else 0
            lines.append((joint or rng.choice(_JOINTS)).join(items[start:]))
        yield rng.choice(("\n", "\n\n", ". ")).join(lines)


def mixture(
    shared: str,
    tokens_budget_bytes: int,
    seed: int = 0,
    generated_share: float = 0.5,
    languages: Mapping[str, float] | None = None,
    max_epochs: int = 16,
    echo_share: float = 0.0,
    topics: Sequence[str] | Mapping[str, float] | None = None,
) -> Iterator[str]:
    """Real and generated documents at a set share of bytes, until the byte budget is reached.

    The stream whose bytes are furthest behind its share comes next. Real text is reshuffled in
    each epoch; after `max_epochs` of it only generated text follows. `languages` maps a language
    to its share of the generated bytes (English 0.7, French 0.15, Spanish 0.15 by default).
    `echo_share` of the bytes are echoes, taken from the generated share; `topics` narrows the rest
    of it, or weighs it.
    Raises: ValueError where 0 <= echo_share <= generated_share <= 1 does not hold.
    """
    if not 0 <= echo_share <= generated_share <= 1:
        raise ValueError(
            f"echo_share is {echo_share}, generated_share {generated_share}; expected 0 <= echo <= "
            "generated <= 1"
        )
    parts = dict(languages or {"en": 0.7, "fr": 0.15, "es": 0.15})
    total = sum(parts.values())
    streams = {code: generated_documents(seed, code, topics) for code in parts}
    told = generated_share - echo_share
    shares = {code: told * part / total for code, part in parts.items()}
    for code, part in parts.items():
        if echo_share:
            streams[f"echo {code}"] = echoes(seed, code)
            shares[f"echo {code}"] = echo_share * part / total
    if generated_share < 1:
        streams["real"] = _epochs(shared, seed, max_epochs)
        shares["real"] = 1 - generated_share
    yield from _interleaved(streams, shares, tokens_budget_bytes)


def _interleaved(
    streams: dict[str, Iterator[str]], shares: dict[str, float], budget: int
) -> Iterator[str]:
    written = {name: 0 for name, share in shares.items() if share > 0}
    done = 0
    while done < budget and written:
        name = min(written, key=lambda n: (written[n] + 1) / shares[n])
        text = next(streams[name], None)
        if text is None:
            del written[name]
            continue
        size = len(text.encode("utf-8"))
        written[name] += size
        done += size
        yield text


def main() -> None:
    """Counts documents and bytes of each source and split into `tiny_base_corpus.json`."""
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for split in ("train", "heldout"):
        for name, text in documents(sys.argv[1], split):
            row = counts.setdefault(split, {}).setdefault(name, {"documents": 0, "bytes": 0})
            row["documents"] += 1
            row["bytes"] += len(text.encode("utf-8"))
    Path("tiny_base_corpus.json").write_text(json.dumps(counts, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
