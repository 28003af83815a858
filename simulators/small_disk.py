"""A disk of its own that can be full: a tmpfs in a mount namespace that nobody else sees.

The namespace belongs to a process that we start; a program works on the disk when it is run with
`within` before its command line. No rights of an administrator are needed where user namespaces
are allowed.
"""

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

_KEEPER = 'mount -t tmpfs -o size="$1" tmpfs "$2" && echo ready && exec cat'


class SmallDisk:
    """A disk of `size` bytes, as a context manager; what was on it is gone afterwards.

    Attributes:
        place: Its folder, as programs see it that run `within`.
        within: What a command line begins with that is to see the disk.
    """

    def __init__(self, place: Path, *, size: int) -> None:
        """Prepare a disk; `place` is an empty folder to mount it on."""
        self.place = place
        self._size = size
        self._keeper: subprocess.Popen[bytes] | None = None
        self.within: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        keeper = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--mount", "--",
             "sh", "-c", _KEEPER, "sh", str(self._size), str(self.place)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert keeper.stdout is not None
        if keeper.stdout.readline() != b"ready\n":
            keeper.wait()
            raise OSError("this machine lets no one make a mount namespace")
        self._keeper = keeper
        self.within = (
            "nsenter", f"--target={keeper.pid}", "--user", "--mount", "--preserve-credentials",
            f"--wd={Path.cwd()}", "--",
        )  # fmt: skip
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.stdout.close()
        self._keeper.wait()

    @property
    def seen_from_outside(self) -> Path:
        """Where the disk's files are for programs that run without `within`."""
        assert self._keeper is not None
        return Path(f"/proc/{self._keeper.pid}/root{self.place}")

    def fill(self) -> None:
        """Leave no room."""
        chunk = bytes(1 << 12)
        with (self.seen_from_outside / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(chunk)
            except OSError:
                return

    def make_room(self) -> None:
        """Take away what `fill` wrote."""
        (self.seen_from_outside / "filler").unlink()
