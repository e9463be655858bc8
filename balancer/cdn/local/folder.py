"""The files of the local CDN on the disk: nothing outside is ever reached, and nothing half-written is ever seen.

Everything in here blocks, and is called in threads.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Final

from balancer.cdn.local import facts
from balancer.cdn.local.facts import Facts

_ABSENT: Final = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENAMETOOLONG))
"""What opening says of a name that is none of a file, symbolic links included."""
_NO_LINKS: Final = frozenset((errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS))
"""What a file system says that has no second names for files."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a pipe is not waited for
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TRIES: Final = 5


class Draft:
    """A file that is coming in, under a name that nobody is served by.

    Its file lock says that somebody still writes it.
    Whoever asked for a step may be gone before a thread has done it, hence the other lock.
    """

    __slots__ = ("_fd", "_hash", "_stepping", "coming", "file", "size")

    def __init__(self, fd: int, file: Path) -> None:
        self._fd: int | None = fd
        self._hash = hashlib.sha256()
        self._stepping = threading.Lock()
        self.file = file
        self.size = 0
        self.coming = 0
        """Bytes that were given a place beside others (owner: the store)."""

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        with self._stepping:
            fd = self._open()
            view = memoryview(piece)
            self._hash.update(view)
            while view:
                written = os.write(fd, view)
                self.size += written
                view = view[written:]

    @property
    def sha256_hex(self) -> str:
        return self._hash.hexdigest()

    def finish(self, known: Facts) -> os.stat_result:
        """Put what is known of it beside the bytes, and all of it on the disk."""
        with self._stepping:
            fd = self._open()
            about = os.fstat(fd)
            facts.attach(fd, known, about)
            os.fsync(fd)
            return about

    def discard(self) -> None:
        """Close it; the name goes as well. To be called in any case."""
        with self._stepping:
            fd, self._fd = self._open(), None
            self.file.unlink(missing_ok=True)
            os.close(fd)

    def _open(self) -> int:
        if self._fd is None:
            raise OSError(errno.EBADF, "is closed", str(self.file))
        return self._fd


@dataclass(slots=True)
class Opened:
    """A file that is being read. What is said of it holds for these very bytes, whatever becomes of the name."""

    path: str
    fd: int
    size: int
    modified_ns: int
    facts: Facts | None
    """None: not known, or the bytes have been changed by hand since."""

    def read(self, at: int, most: int) -> bytes:
        return os.pread(self.fd, most, at)

    def digest(self) -> str:
        whole = hashlib.sha256()
        at = 0
        while piece := self.read(at, 1 << 20):
            whole.update(piece)
            at += len(piece)
        return whole.hexdigest()

    def close(self) -> None:
        os.close(self.fd)


class Folder:
    """`files` is what is served; `incoming` what is not yet complete. Both on one file system."""

    def __init__(self, directory: Path) -> None:
        self.files = directory / "files"
        self.incoming = directory / "incoming"

    def prepare(self) -> int:
        """Make what is not there, and clear away what was left when a balancer was killed; says how much that was."""
        for folder in (self.files, self.incoming):
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        return sum(map(_swept, list(self.incoming.iterdir())))

    def check(self) -> None:
        """OSError: nothing can be written here."""
        draft = self.draft()
        try:
            draft.write(b"?")
        finally:
            draft.discard()

    def free(self) -> int:
        """Bytes on the disk that we may use."""
        disk = os.statvfs(self.files)
        return disk.f_bavail * disk.f_frsize

    def draft(self) -> Draft:
        for _ in range(_TRIES):
            file = self.incoming / token_hex(16)
            fd = os.open(file, _NEW, 0o640)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # somebody who sweeps has it already
                os.close(fd)
                continue
            if os.fstat(fd).st_nlink:
                return Draft(fd, file)
            os.close(fd)
        raise FileNotFoundError(errno.ENOENT, "is swept by others again and again", str(self.incoming))

    def place(self, draft: Draft, path: str, *, over: bool) -> bool:
        """Give it its name. False: there is a file of that name, and it is not to be overwritten."""
        with self._parent(path, make=True) as (parent, name):
            if over:
                _refuse_folder(parent, name)
                os.rename(draft.file, name, dst_dir_fd=parent)
            else:
                try:
                    os.link(draft.file, name, dst_dir_fd=parent, follow_symlinks=False)
                except FileExistsError:
                    return False
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    if _is_there(parent, name):
                        return False
                    os.rename(draft.file, name, dst_dir_fd=parent)
            os.fsync(parent)
        return True

    def remove(self, path: str) -> bool:
        """Whether it was there."""
        try:
            with self._parent(path) as (parent, name):
                if not stat.S_ISREG(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                    return False
                os.unlink(name, dir_fd=parent)
                os.fsync(parent)
        except OSError as error:
            if error.errno in _ABSENT:
                return False
            raise
        return True

    def open(self, path: str) -> Opened | None:
        """To read it; None: there is no such file. The path is a good one (`names.good`)."""
        try:
            with self._parent(path) as (parent, name):
                fd = os.open(name, _READ, dir_fd=parent)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise
        try:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode):
                os.close(fd)
                return None
            return Opened(path, fd, about.st_size, about.st_mtime_ns, facts.attached(fd, about))
        except BaseException:
            os.close(fd)
            raise

    def describe(self, path: str, known: Facts, size: int, modified_ns: int) -> bool:
        """Put something else beside the bytes of a file that had this size and time. False: it is another one now, or
        what it says of itself can not be changed. One that says nothing, as its disk can not, is left to the index."""
        opened = self.open(path)
        if opened is None:
            return False
        try:
            if (opened.size, opened.modified_ns) != (size, modified_ns):
                return False
            if facts.attach(opened.fd, known, os.fstat(opened.fd)):
                os.fsync(opened.fd)
                return True
            return opened.facts is None
        finally:
            opened.close()

    def matches(self, path: str, size: int, modified_ns: int) -> bool:
        """Whether there still is the file that had this size and time."""
        try:
            about = os.lstat(self.files / path)
        except OSError:
            return False
        return stat.S_ISREG(about.st_mode) and (about.st_size, about.st_mtime_ns) == (size, modified_ns)

    def walk(self) -> Iterator[tuple[str, int, int]]:
        """Path, size and time (ns) of every file, folder by folder; symbolic links are none."""
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(self.files / folder) as entries:
                    for entry in entries:
                        path = f"{folder}{entry.name}"
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(f"{path}/")
                        elif entry.is_file(follow_symlinks=False):
                            about = entry.stat(follow_symlinks=False)
                            yield path, about.st_size, about.st_mtime_ns
            except FileNotFoundError:  # gone meanwhile
                continue

    @contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The folder that a file is in, gone to step by step, so that no symbolic link leads elsewhere."""
        *folders, name = path.split("/")
        at = os.open(self.files, _FOLDER)
        try:
            for folder in folders:
                at = _step(at, folder, make=make)
            yield at, name
        finally:
            os.close(at)


def _step(at: int, folder: str, *, make: bool) -> int:
    """The folder within; `at` is closed, unless this fails."""
    try:
        inner = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
    except FileNotFoundError:
        if not make:
            raise
        try:
            os.mkdir(folder, 0o750, dir_fd=at)
        except FileExistsError:
            pass
        os.fsync(at)
        inner = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
    os.close(at)
    return inner


def _swept(file: Path) -> bool:
    """Remove what nobody writes any more."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.unlink()
    except OSError:  # it is being written by another balancer, or not ours to remove
        return False
    finally:
        os.close(fd)
    return True


def _is_there(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _refuse_folder(parent: int, name: str) -> None:
    """A symbolic link of the name is replaced, as any file; a folder is not."""
    try:
        about = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", name)
