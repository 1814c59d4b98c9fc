"""Files as they lie on disk, opened as what they hold: plain, gzip or Zstandard.

A compressed file that ends early raises; a reader that takes its part for the whole would lose
rows without a word.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from regimen.errors import DataError

if TYPE_CHECKING:
    import zstandard
    from _typeshed import WriteableBuffer

COMPRESSIONS = (".gz", ".zst")
_CHUNK = 1 << 20


def suffixes(path: Path) -> tuple[str, str]:
    """The data suffix and the compression suffix of a file name, in lower case: .jsonl, .gz."""
    last = path.suffix.lower()
    if last in COMPRESSIONS:
        return path.with_suffix("").suffix.lower(), last
    return last, ""


class _ZstdReader(io.RawIOBase):
    """Bytes of a Zstandard file of one or more frames; a frame without its end is an error.

    The library's own stream reader ends quietly where a file was cut off.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._unused = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer with decompressed bytes; 0 at the end of the file."""
        if not self._ready:
            self._ready = memoryview(self._next())
        target = memoryview(buffer).cast("B")
        taken = min(len(target), len(self._ready))
        target[:taken] = self._ready[:taken]
        self._ready = self._ready[taken:]
        return taken

    def _next(self) -> bytes:
        """The next bytes, or none at the end."""
        import zstandard

        while data := self._unused or self._raw.read(_CHUNK):
            frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            out = frame.decompress(data)
            self._frame = None if frame.eof else frame
            self._unused = frame.unused_data if frame.eof else b""
            if out:
                return out
        if self._frame is not None:
            raise EOFError("the last frame has no end")
        return b""


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The decompressed bytes of a file.

    Raises:
        DataError: the file cannot be opened (``file-unreadable``), or its compressed part is
            damaged or cut off (``file-compression``).
    """
    import zstandard

    kind = suffixes(path)[1]
    try:
        with path.open("rb") as raw:
            if kind == ".gz":
                yield cast(IO[bytes], gzip.GzipFile(fileobj=raw))
            elif kind == ".zst":
                yield io.BufferedReader(_ZstdReader(raw), _CHUNK)
            else:
                yield raw
    except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError, EOFError) as error:
        cut = isinstance(error, EOFError)
        raise DataError(
            "The compressed file is cut off." if cut else "The compressed file is damaged.",
            slug="file-compression",
            got=f"a {kind} file that ends early" if cut else f"bytes that are not {kind}",
            fix="Copy or download the file again, or correct its ending.",
            where=str(path),
        ) from error
    except PermissionError as error:
        raise DataError(
            "The file may not be read.",
            slug="file-unreadable",
            fix="Change the permissions of the file.",
            where=str(path),
        ) from error


@contextmanager
def open_text(path: Path) -> Iterator[io.TextIOWrapper]:
    """The decompressed text of a file: UTF-8 with or without a mark, or UTF-16 with one.

    Line ends are kept. A byte that is not UTF-8 becomes a lone surrogate, so that only the row
    that holds it fails; ``broken_text`` finds it.

    Raises:
        DataError: as ``open_bytes``.
    """
    with open_bytes(path) as raw:
        buffered = io.BufferedReader(cast(io.RawIOBase, raw))
        mark = buffered.peek(2)[:2]
        encoding = "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        try:
            with io.TextIOWrapper(buffered, encoding, "surrogateescape", newline="") as text:
                yield text
        except UnicodeDecodeError as error:
            raise DataError(
                f"The file is not {encoding.upper()} text, as its first bytes say it is.",
                slug="file-encoding",
                got=f"byte {error.start} of a block: {error.reason}",
                fix="Save the file as UTF-8.",
                where=str(path),
            ) from error


def broken_text(text: str) -> bool:
    """Whether a text holds lone surrogates: bytes that were not UTF-8, or half an escape."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
