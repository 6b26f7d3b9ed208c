"""Results on object storage: paths that are URLs, with the few questions that are asked of paths.

Any file system that fsspec knows: `s3://`, `gs://`, `abfs://`, `memory://` … (with the package that
fsspec asks for). An object is whole or absent by itself. A new one is put on condition that there
is none of its name, where the store can do that (S3, Google and Azure can, through fsspec); where
not, a late put replaces an object by its equal.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import IO, Any, cast
from urllib.parse import unquote, urlsplit

import fsspec

from sweep.errors import UserError

SEPARATOR = "://"


def place(text: str) -> Path:
    """The folder that a path or URL names: a path of this machine, or an `ObjectPath` as one.

    Raises `UserError` for a URL whose scheme fsspec does not know, or has no package for.
    """
    if SEPARATOR not in text:
        return Path(text).expanduser().absolute()
    if text.startswith("file://"):
        return Path(unquote(urlsplit(text).path))
    try:
        _opened(text)
    except (ValueError, ImportError) as error:
        scheme = text.split(SEPARATOR)[0]
        raise UserError(
            f"'{text}' cannot be opened ({str(error).splitlines()[0]}): a path, or a URL such as "
            f"s3://bucket/results whose scheme fsspec knows, is accepted, not '{scheme}'."
        ) from error
    # It answers all that this package asks of a path.
    return cast(Path, ObjectPath(text.rstrip("/")))


@dataclass(frozen=True, order=True)
class ObjectPath:
    """A name in an object store, asked like a `pathlib.Path`; folders exist by what is in them."""

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rsplit("/", 1)[1]

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """What follows the last dot of the name, with it."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> ObjectPath:
        """All but the last part."""
        return ObjectPath(self.url.rsplit("/", 1)[0])

    def with_name(self, name: str) -> ObjectPath:
        """Its neighbour of that name."""
        return self.parent / name

    def exists(self) -> bool:
        """Whether there is an object, or one in this folder."""
        files, key = _opened(self.url)
        return bool(files.exists(key))

    def is_dir(self) -> bool:
        """Whether there is something in this folder."""
        files, key = _opened(self.url)
        return bool(files.isdir(key))

    def is_symlink(self) -> bool:
        """Never."""
        return False

    def stat(self) -> SimpleNamespace:
        """`st_size` in bytes, and `st_mtime`: now, where the store does not say it."""
        files, key = _opened(self.url)
        size, changed = files.info(key)["size"], time.time()
        with contextlib.suppress(NotImplementedError):  # fsspec's word for a store without times
            changed = files.modified(key).timestamp()
        return SimpleNamespace(st_size=size, st_mtime=changed)

    def iterdir(self) -> Iterator[ObjectPath]:
        """What is in this folder."""
        files, key = _opened(self.url)
        for found in files.ls(key, detail=False):
            name = str(found).rstrip("/").rsplit("/", 1)[1]
            if name:
                yield self / name

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """What is in this folder and has a name of that pattern, which has no slash."""
        with contextlib.suppress(FileNotFoundError):
            yield from (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def open(self, mode: str = "rb") -> IO[bytes]:
        """The object's bytes as a file to read."""
        files, key = _opened(self.url)
        return cast(IO[bytes], files.open(key, mode))

    def read_bytes(self) -> bytes:
        """The object; `FileNotFoundError` if there is none."""
        files, key = _opened(self.url)
        return bytes(files.cat_file(key))

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The object as text."""
        return self.read_bytes().decode(encoding, errors)

    def write_bytes(self, data: bytes) -> int:
        """Put the object, whatever is there; gives its size."""
        files, key = _opened(self.url)
        files.pipe_file(key, data)
        return len(data)

    def write_text(self, text: str) -> int:
        """Put text; gives its size in bytes."""
        return self.write_bytes(text.encode())

    def create(self, data: bytes) -> bool:
        """True if the object was put by this call; False if there is one of its name."""
        files, key = _opened(self.url)
        try:
            files.pipe_file(key, data, mode="create")
        except FileExistsError:
            return False
        return True

    def unlink(self, missing_ok: bool = False) -> None:
        """The object gone."""
        files, key = _opened(self.url)
        try:
            files.rm_file(key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, parents: bool = True, exist_ok: bool = True) -> None:
        """A folder, in stores that have such."""
        files, key = _opened(self.url)
        files.makedirs(key, exist_ok=True)

    def rmdir(self) -> None:
        """An empty folder gone, in stores that have such."""
        files, key = _opened(self.url)
        files.rmdir(key)


def in_store(path: Path) -> ObjectPath | None:
    """What a path is in an object store; None if it is one of this machine."""
    given: object = path
    return given if isinstance(given, ObjectPath) else None


@functools.lru_cache(maxsize=4096)
def _opened(url: str) -> tuple[Any, str]:
    """The store and the name in it; never a remembered listing, since others write there too."""
    files, key = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return files, key
