"""Start the ranks of a run with mpiexec, and report their failure in one line."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from ..console import UserError, complain
from ..results import cores
from ..signals import handle_signals

LAUNCHED = "LM_LAUNCHED"  # set for ranks that were started by `launch`
PATIENCE = 5.0  # seconds for the ranks to end by themselves at a second Ctrl-C, or a timeout

# MPICH's mpiexec writes a banner about a failure to standard output.
BANNER = re.compile(
    r"=*$|= {3}|YOUR APPLICATION TERMINATED|This typically refers|Please see the FAQ|\[mpiexec@"
)
KILLED = re.compile(r"\(signal (\d+)\)|signal (\d+) \(")  # as MPICH and Open MPI say it
RULE = "=" * 89  # ours, in the closing lines


def launch(ranks: int, program: Sequence[str], latest: Path, timeout: float) -> None:
    """Run `python -m mpi4py PROGRAM` as so many ranks, to the end.

    `latest` is where the run saves its state, `timeout` what the ranks allow for a step. The first
    Ctrl-C, SIGTERM or closing terminal asks the ranks to stop and save; a second Ctrl-C ends them.
    Raises UserError if the ranks fail.
    """
    command = [*_mpiexec(ranks), sys.executable, "-m", "mpi4py", *program]
    Launch(command, _environment(os.environ, ranks), latest, timeout).run()


def _mpiexec(ranks: int) -> list[str]:
    """The words that start so many ranks: mpiexec of this Python's environment, or of the path."""
    if importlib.util.find_spec("mpi4py") is None:
        raise UserError("--ranks needs mpi4py and MPI: pip install mpi4py mpich")
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise UserError("--ranks needs an mpiexec, which is not on the path: pip install mpich")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    open_mpi = ["--bind-to", "none", "--oversubscribe"]  # threads may use all cores
    options = open_mpi if re.search("open.?mpi|open.?rte|prrte", version.stdout.lower()) else []
    return [found, *options, "-n", str(ranks)]


def _environment(given: Mapping[str, str], ranks: int) -> dict[str, str]:
    """The cores divided among the ranks; no busy waiting if there are fewer cores than ranks."""
    threads = str(max(1, cores() // ranks))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    found = {} if any(name in given for name in names) else dict.fromkeys(names, threads)
    if ranks > cores():
        found["MPIR_CVAR_ENABLE_HEAVY_YIELD"] = "1"
    return {**found, **given, LAUNCHED: "1"}


class Launch:
    """A running mpiexec and what it prints."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], latest: Path, timeout: float
    ) -> None:
        self.command, self.env = command, env
        self.latest, self.timeout = latest, timeout
        self.errors: list[str] = []  # lines of ours that begin with "error: "
        self.others: list[str] = []  # of the launcher, and tracebacks
        self.timed_out = 0.0  # when a rank gave up waiting for another
        self.closed = False
        self.killed_by: int | None = None  # the number of a signal
        self._asked = 0.0  # when the ranks were asked to stop
        self._interrupted = False  # by a second Ctrl-C

    def run(self) -> None:
        started = time.time()
        # In a session of its own: Ctrl-C is for this process, which passes it on.
        self.process = subprocess.Popen(
            self.command,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        handle_signals(self._pass_on)
        streams = ((self.process.stdout, self._out), (self.process.stderr, self._err))
        readers = [threading.Thread(target=_each_line, args=stream) for stream in streams]
        for reader in readers:
            reader.start()
        while self.process.poll() is None:
            time.sleep(0.05)
            if self.closed:
                self._ask()
            # Sometimes mpiexec does not notice that one rank has ended and waits for a frozen one.
            waits = self.timed_out and time.monotonic() - self.timed_out > PATIENCE
            if self._interrupted or waits:
                self._end_at_once()
        for reader in readers:
            reader.join(PATIENCE)
        if self.closed:
            raise BrokenPipeError
        self._report(self.process.returncode, started)

    def _out(self, line: str) -> None:
        self._look_for_cause(line)
        if BANNER.match(line) and line.strip() != RULE:
            return
        try:
            sys.stdout.write(line)
            sys.stdout.flush()
        except BrokenPipeError:
            self.closed = True
        except OSError:  # the ranks go on without a reader
            pass

    def _err(self, line: str) -> None:
        """Pass a warning of ours on; keep all else, which a failure's one line may replace."""
        line = line.strip("\0\n")
        self._look_for_cause(line)
        if line.startswith("warning: "):
            complain(line)
        elif line.startswith("error: "):
            self.errors.append(line.removeprefix("error: "))
        else:
            self.others.append(line)

    def _look_for_cause(self, line: str) -> None:
        if line.startswith("Timeout (") and not self.timed_out:
            self.timed_out = time.monotonic()
        if found := KILLED.search(line):
            self.killed_by = int(found[1] or found[2])

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        again = self._asked and time.monotonic() - self._asked > 1  # one key press can send several
        if again and number == signal.SIGINT:
            self._interrupted = True
        self._ask()

    def _ask(self) -> None:
        """Ask rank 0 to stop; it asks the others."""
        if not self._asked:
            self._asked = time.monotonic()
            self._tell()

    def _tell(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(b"!")
            self.process.stdin.flush()

    def _end_at_once(self) -> None:
        ways: tuple[Callable[[], None], ...] = (
            self._tell, self.process.terminate, self.process.kill,
        )  # fmt: skip
        for way in ways:
            way()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)
                return

    def _report(self, status: int, started: float) -> None:
        """Raise UserError with the one line that says why the ranks have failed, if they have."""
        if status == 0:
            for line in self.others:
                complain(line)
            return
        if self.errors:
            if status == 1:  # a bug
                for line in _traceback(self.others):
                    complain(line)
                complain(f"error: {self.errors[0]}")
                raise SystemExit(1)
            raise UserError(self.errors[0])
        saved = self.latest.exists() and self.latest.stat().st_mtime >= started
        rest = f"--resume {self.latest} continues" if saved else "nothing was saved"
        if self._interrupted:
            raise UserError(f"ended at once by a second Ctrl-C; {rest}")
        if self.timed_out:
            raise UserError(
                f"no step was done within --step-timeout, {self.timeout:g} seconds: a rank is "
                f"frozen; {rest}"
            )
        if self.killed_by is not None:
            name = signal.Signals(self.killed_by).name
            memory = ", perhaps for lack of memory" if name == "SIGKILL" else ""
            raise UserError(f"a rank was killed by {name}{memory}; {rest}")
        raise UserError(f"mpiexec ended with status {status}; {rest}")


def _each_line(stream: IO[bytes], use: Callable[[str], None]) -> None:
    for line in stream:
        use(line.decode(errors="backslashreplace"))


def _traceback(lines: Sequence[str]) -> list[str]:
    """The first traceback among lines: its indented lines, and the one that ends it."""
    start = next((i for i, line in enumerate(lines) if line.startswith("Traceback ")), len(lines))
    end = next((i for i, line in enumerate(lines) if i > start and line[:1] != " "), len(lines))
    return list(lines[start : end + 1])
