"""Read members of zip and tar archives in place, without ever unpacking one over a path.

The archive is listed once: regular files with names that stay inside count, everything else is
left out and named. A member is then read from its place in the file by a function without state,
so that threads and forked workers may read at the same time. A gzipped tar cannot be entered in
the middle; it is unpacked once, as a whole, into a temporary file that has no name.

A small archive may claim to hold a great deal (a zip bomb). Sizes are checked before anything is
unpacked, and unpacking stops at the size that was claimed.
"""

from __future__ import annotations

import functools
import gzip
import os
import stat
import struct
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from graft.data.faults import Finding, PlacedError, data_error, shorten

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
LARGEST_COUNT = 2_000_000
LONGEST_NAME = 1_024
LARGEST_MEMBER_BYTES = 2**30
LARGEST_RATIO = 200
SMALL_BYTES = 2**24
"""What unpacks to less than this may have any ratio: a page of zeros harms nobody."""

DEFLATED = 8
STORED = 0
ENCRYPTED = 0x1
ZIP_HEADER = struct.Struct("<4s22xHH")
"""Of a local file header: the signature, and the lengths of the name and of the extra field."""

N_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Member:
    """Say where the bytes of one regular file lie.

    Args:
        name: normal path inside the archive, with `/`.
        start: position of its header (zip) or of its bytes (tar).
        size_bytes: when unpacked.
        packed_bytes: as stored.
        method: 0 as it is, 8 deflated.
        crc: checksum of the unpacked bytes, or None for tar.
    """

    name: str
    start: int
    size_bytes: int
    packed_bytes: int
    method: int = STORED
    crc: int | None = None


@dataclass(frozen=True, eq=False)
class Archive:
    """Hold the listing of an archive.

    Args:
        path: the archive.
        members: path inside → where it lies; regular files only.
        folders: path inside ("" for the top) → the names of the folders and files in it.
        findings: what was left out, by names inside.
        unpacked: descriptor of the nameless file that a gzipped tar was unpacked to, else None.
    """

    path: str
    members: dict[str, Member]
    folders: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
    findings: tuple[Finding, ...]
    unpacked: int | None = None

    def found(self, shown: str) -> tuple[Finding, ...]:
        """Return the findings with places as the user names the archive."""
        return tuple(replace(finding, path=f"{shown}!/{finding.path}") for finding in self.findings)

    def read(self, name: str) -> bytes:
        """Return the bytes of a member.

        Raises:
            FileNotFoundError: there is none of this name.
            OSError: the archive cannot be read any more.
            DataError: the member is damaged.
        """
        member = self.members.get(name)
        if member is None:
            raise FileNotFoundError(2, "No such file in the archive", f"{self.path}!/{name}")
        if self.unpacked is not None:
            data = os.pread(self.unpacked, member.packed_bytes, member.start)
            return unpacked_bytes(data, member, self.path)
        with Path(self.path).open("rb") as file:
            file.seek(member.start)
            if member.crc is not None:
                header = file.read(ZIP_HEADER.size)
                if len(header) < ZIP_HEADER.size or not header.startswith(b"PK\3\4"):
                    raise damaged(self.path, name)
                _, n_name, n_extra = ZIP_HEADER.unpack(header)
                file.seek(n_name + n_extra, os.SEEK_CUR)
            data = file.read(member.packed_bytes)
        return unpacked_bytes(data, member, self.path)


def open_archive(path: str) -> Archive:
    """Return the listing of an archive; the same one until the file changes.

    Raises:
        OSError: it cannot be read.
        DataError: it is damaged, encrypted, or claims to hold too much.
    """
    status = Path(path).stat()
    try:
        return listing(str(Path(path).absolute()), status.st_mtime_ns, status.st_size)
    except PlacedError as error:
        raise data_error(error.message, path=path) from None


def split_place(path: str) -> tuple[str, str] | None:
    """Return archive and path inside for a place such as `d.zip!/a/b.png`, else None.

    A part that leaves the archive, as `..` may, is returned as it is: no member has such a name.
    """
    at = path.find("!")
    while at >= 0:
        archive, rest = path[:at], path[at + 1 :]
        if archive.lower().endswith(ENDINGS) and rest[:1] in ("", "/") and Path(archive).is_file():
            return archive, rest[1:] if rest.startswith("//") else normal(rest) or rest[1:]
        at = path.find("!", at + 1)
    return None


def normal(name: str) -> str:
    """Return a path without `.`, empty parts and inner `..`; one that leaves keeps its `..`.

    >>> normal("a//./b/../c"), normal("a/../../c")
    ('a/c', '../c')
    """
    kept: list[str] = []
    for part in name.replace("\\", "/").split("/"):
        if part == ".." and kept and kept[-1] != "..":
            kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    return "/".join(kept)


def damaged(path: str, name: str) -> Exception:
    """Return the error for bytes that do not unpack to what the archive claims."""
    message = "damaged inside the archive; download or pack the archive again"
    return data_error(message, path=f"{path}!/{name}")


def unpacked_bytes(data: bytes, member: Member, path: str) -> bytes:
    """Return the bytes of a member, never more than it claims to hold."""
    if member.method == DEFLATED:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            # One byte more, so that a member that claims too little is noticed.
            data = inflate.decompress(data, member.size_bytes + 1)
        except zlib.error:
            raise damaged(path, member.name) from None
    wrong_sum = member.crc is not None and zlib.crc32(data) != member.crc
    if len(data) != member.size_bytes or wrong_sum:
        raise damaged(path, member.name)
    return data


@functools.lru_cache(maxsize=8)
def listing(path: str, mtime_ns: int, n_bytes: int) -> Archive:
    """List an archive; the time and size of the file are part of the cache's key."""
    del mtime_ns
    is_zip = path.lower().endswith(".zip")
    findings: list[Finding] = []
    unpacked: int | None = None
    try:
        if is_zip:
            found = list_zip(path, n_bytes, findings)
        elif path.lower().endswith(".tar"):
            with tarfile.open(path, "r:") as tar:
                found = list_tar(tar, findings)
        else:
            with unzipped(path, n_bytes) as file:
                with tarfile.open(fileobj=file, mode="r:") as tar:
                    found = list_tar(tar, findings)
                unpacked = os.dup(file.fileno())
                n_bytes = os.fstat(unpacked).st_size
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        kind = "zip" if is_zip else "tar"
        why = shorten(" ".join(str(error).split()), 40)
        message = f"not a whole {kind} archive ({why}); download or pack it again"
        raise data_error(message, path=path) from None
    except (struct.error, ValueError, NotImplementedError, UnicodeError) as error:
        message = f"the archive's list is damaged ({shorten(str(error), 40)}); pack it again"
        raise data_error(message, path=path) from None
    members: dict[str, Member] = {}
    for member in found:
        sizes = (member.start, member.size_bytes, member.packed_bytes)
        if min(sizes) < 0 or member.start + member.packed_bytes > n_bytes:
            leave_out(member.name, "reaches beyond the archive; download it again", findings)
            continue
        if member.name in members:
            message = "two members have this name; the last one counts"
            findings.append(Finding("member-twice", "warn", message, member.name))
        members[member.name] = member
    archive = Archive(path, members, tree(members), tuple(findings), unpacked)
    if unpacked is not None:
        weakref.finalize(archive, os.close, unpacked)
    return archive


def list_zip(path: str, n_bytes: int, findings: list[Finding]) -> list[Member]:
    """Return the regular members of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    check_count(len(infos))
    check_claim(sum(info.file_size for info in infos), n_bytes, "the archive")
    members = []
    for info in infos:
        if info.filename.endswith("/"):
            continue
        mode = info.external_attr >> 16
        refused = refusal(info.filename, stat.S_IFMT(mode) in (0, stat.S_IFREG), info.file_size)
        if refused is None and info.flag_bits & ENCRYPTED:
            raise data_error("the archive is encrypted; pack it without a password", path=path)
        if refused is None and info.compress_type not in (STORED, DEFLATED):
            refused = "packed by a rare method; pack it again with deflate"
        if refused is None and info.file_size > max(info.compress_size, 1) * LARGEST_RATIO:
            check_claim(info.file_size, info.compress_size, normal(info.filename))
        if refused is not None:
            leave_out(info.filename, refused, findings)
            continue
        packed, method = info.compress_size, info.compress_type
        name = normal(info.filename)
        members.append(Member(name, info.header_offset, info.file_size, packed, method, info.CRC))
    return members


def list_tar(tar: tarfile.TarFile, findings: list[Finding]) -> list[Member]:
    """Return the regular members of a tar archive."""
    members = []
    for count, info in enumerate(tar, start=1):
        check_count(count)
        if info.isdir():
            continue
        plain = info.isreg() and not info.issparse()
        refused = refusal(info.name, plain, info.size)
        if refused is not None:
            leave_out(info.name, refused, findings)
            continue
        members.append(Member(normal(info.name), info.offset_data, info.size, info.size))
    return members


def refusal(name: str, is_regular: bool, n_bytes: int) -> str | None:
    """Return why a member is left out, or None."""
    path = name.replace("\\", "/")
    if not is_regular:
        return "a link or device, which is not followed; pack the file itself"
    if path.startswith("/") or path[1:2] == ":" or ".." in path.split("/") or "\0" in path:
        return "the name leads out of the archive; pack it again with plain names"
    if not 0 < len(normal(path)) <= LONGEST_NAME:
        return f"the name is empty or over {LONGEST_NAME:,} characters; pack it again"
    try:
        path.encode()
    except UnicodeEncodeError:
        return "the name is not UTF-8; rename the file"
    if n_bytes > LARGEST_MEMBER_BYTES:
        return f"{n_bytes:,} bytes, over 1 GiB; unpack the archive and pass the folder"
    return None


def leave_out(name: str, why: str, findings: list[Finding]) -> None:
    """Note a member that is not read."""
    findings.append(Finding("member-left-out", "skip", why, name))


def check_count(n_members: int) -> None:
    """Refuse an archive of too many members."""
    if n_members > LARGEST_COUNT:
        message = f"more than {LARGEST_COUNT:,} members; unpack the archive and pass the folder"
        raise data_error(message)


def check_claim(n_bytes: int, n_packed: int, what: str) -> None:
    """Refuse what unpacks to far more than real data ever does."""
    if n_bytes > SMALL_BYTES and n_bytes > n_packed * LARGEST_RATIO:
        message = f"{shorten(what, 40)} unpacks to over {LARGEST_RATIO} times its size (a zip "
        raise data_error(message + "bomb?); unpack it yourself and pass the folder")


@contextmanager
def unzipped(path: str, n_bytes: int) -> Generator[IO[bytes], None, None]:
    """Open a nameless temporary file with the content of a gzipped one."""
    n_written = 0
    with tempfile.TemporaryFile() as target:
        with gzip.open(path) as file:
            while chunk := file.read(N_CHUNK_BYTES):
                n_written += len(chunk)
                check_claim(n_written, n_bytes, "the archive")
                target.write(chunk)
        target.flush()
        target.seek(0)
        yield target


def tree(members: dict[str, Member]) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return folder → sorted names of the folders and of the files in it."""
    folders: dict[str, set[str]] = defaultdict(set, {"": set()})
    files: dict[str, set[str]] = defaultdict(set)
    for name in members:
        folder, _, file = name.rpartition("/")
        files[folder].add(file)
        if folder in folders:
            continue
        above = ""
        for part in folder.split("/"):
            folders[above].add(part)
            above = f"{above}/{part}".removeprefix("/")
            folders.setdefault(above, set())
    return {
        folder: (tuple(sorted(names)), tuple(sorted(files[folder])))
        for folder, names in folders.items()
    }
