"""The process beside a running task that outlives the emulator: it ends the task and records how.

It runs on a bare interpreter and imports little, because it is part of every task's start. It speaks to
the emulator through files in the folder of the attempt:

claim   pid and start time of the supervisor; who makes it first decides whether the task runs at all
task    pid and start time of the task, which leads a session of its own
bell    a named pipe; a byte in it means that the log has grown
streams where in the log the output changes from one stream to another: offset and OUT, ERR or OWN
exit    how the task ended; made when all of it is gone
"""
# To import pathlib and contextlib would take as long as all the rest.
# ruff: noqa: PTH104, PTH108, PTH123, PTH208, SIM105

import os
import resource
import select
import signal
import time

LONGEST_LOG = 10 * 2**20
_CUT = b"\n(The log is full; the rest is not kept.)\n"
_MEASURE_EVERY = 0.5
_MOST_FILES = 8192
_CHUNK = 65536
_LONGEST_PIECE = 240 << 10  # bytes of a line without its end
_LAST_READS = 16  # of a pipe after the end: as much as the largest one holds
OUT, ERR, OWN = "1", "2", "s"  # the task's two streams, and what this process says
_PAGE = resource.getpagesize()


def process_stat(pid: int | str) -> list[bytes]:
    """Return what follows the name in /proc/PID/stat; nothing without such a process or /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def start_time(pid: int) -> str:
    """Return when a process began, to compare: its pid alone may be another's by now."""
    stat = process_stat(pid)
    return stat[19].decode() if stat else "-"


def identity(pid: int) -> str:
    return f"{pid} {start_time(pid)}"


def resident(session: int) -> int:
    """Return how many bytes of memory the processes of a session hold."""
    wanted, pages = str(session).encode(), 0
    try:
        pids = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return _resident_by_ps(session)
    for pid in pids:
        stat = process_stat(pid)
        if stat and stat[3] == wanted:
            pages += int(stat[21])
    return pages * _PAGE


def _resident_by_ps(session: int) -> int:
    """Return the same without /proc: of the group that the session's leader leads."""
    with os.popen("ps -axo pgid=,rss=") as listed:  # noqa: S605 - kibibytes; nothing of a user in it
        rows = [line.split() for line in listed]
    return sum(int(size) for group, size in rows if group == str(session)) * 1024


def write_whole(path: str, text: str) -> None:
    """Write a small file that is either not there or complete."""
    with open(f"{path}.{os.getpid()}", "w", encoding="ascii") as file:
        file.write(text)
    os.rename(file.name, path)


def claim(folder: str, text: str) -> bool:
    """Make the claim file; return False if another was first."""
    draft = f"{folder}/claim.{os.getpid()}"
    try:
        write_whole(draft, text)
        os.link(draft, f"{folder}/claim")
    except OSError:
        return False
    os.unlink(draft)
    return True


class Log:
    """The task's output in a file of bounded size; the emulator is rung when it grows."""

    def __init__(self, path: str, folder: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(path, flags, 0o600)
        self._streams = os.open(f"{folder}/streams", flags, 0o600)
        self._stream = ""
        self._is_line_open = False
        self._is_cut = False
        self._size = os.fstat(self._file).st_size
        self._bell = f"{folder}/bell"
        self._ringer: int | None = None

    def write(self, data: bytes, stream: str) -> None:
        room = max(LONGEST_LOG - self._size, 0)
        if self._is_cut and stream != OWN:
            return
        if stream != self._stream and self._is_line_open:
            data = b"\n" + data
        if len(data) > room and stream != OWN:  # how it ended is told all the same
            data, self._is_cut = data[:room] + _CUT, True
        try:
            self._mark(stream, self._size + data.startswith(b"\n"))
            self._size += os.write(self._file, data)
        except OSError:
            pass  # a full disk must not end the task
        self._is_line_open = not data.endswith(b"\n")
        self._ring()

    def say(self, text: str) -> None:
        """Write a line of the platform's own."""
        self.write(f"{text}\n".encode(), OWN)

    def _mark(self, stream: str, offset: int) -> None:
        if stream != self._stream:
            self._stream = stream
            os.write(self._streams, f"{offset} {stream}\n".encode())

    def _ring(self) -> None:
        try:
            if self._ringer is None:
                self._ringer = os.open(self._bell, os.O_WRONLY | os.O_NONBLOCK)
            os.write(self._ringer, b".")
        except BlockingIOError:
            pass  # it rings already
        except OSError:  # nobody listens now; a restarted emulator may later
            if self._ringer is not None:
                os.close(self._ringer)
            self._ringer = None


class AttemptSupervisor:
    """Watches one task until all of it is gone."""

    def __init__(
        self, task: int, outputs: dict[int, str], *, log: Log, memory: int, grace: float
    ) -> None:
        """Read `outputs`: ends of pipes, and the name of the stream in each."""
        self._task = task
        self._outputs = outputs
        self._pieces = {output: bytearray() for output in outputs}  # whose end is still to come
        self._sources = list(outputs)
        self._log = log
        self._memory = memory
        self._grace = grace
        self._terminated = False
        self._out_of_memory = False
        self._kill_at: float | None = None
        self._measure_at = time.monotonic() + _MEASURE_EVERY

    def watch(self, wake: int) -> str:
        """Return the content of the exit file once the task has ended."""
        self._sources.append(wake)
        while (code := self._reap()) is None:
            ready = select.select(self._sources, [], [], self._seconds_to_wait())[0]
            for output in self._outputs:
                if output in ready and not self._pump(output):
                    self._sources.remove(output)
            if wake in ready and signal.SIGTERM in os.read(wake, _CHUNK):
                self._terminate()
            self._enforce()
        self._signal(signal.SIGKILL)  # what the task left behind goes with it
        for output in self._outputs:
            self._drain(output)
        return self._describe(code)

    def _drain(self, output: int) -> None:
        """Copy what is still in a pipe, and a last line without an end."""
        # A process that has left the session may go on writing for ever.
        for _ in range(_LAST_READS):
            if output not in self._sources or not self._pump(output):
                break
        if piece := self._pieces[output]:
            self._log.write(bytes(piece), self._outputs[output])

    def _reap(self) -> int | None:
        pid, status = os.waitpid(self._task, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def _seconds_to_wait(self) -> float:
        next_moment = min(self._measure_at, self._kill_at or self._measure_at)
        return max(0.0, next_moment - time.monotonic())

    def _pump(self, output: int) -> bool:
        """Copy whole lines of the task's output; return False at its end, or if there is none now."""
        try:
            data = os.read(output, _CHUNK)
        except BlockingIOError:
            return False
        piece = self._pieces[output]
        piece += data  # in place: a program may write byte by byte
        whole = data.rfind(b"\n") + 1
        end = len(piece) - len(data) + whole if whole else 0
        if len(piece) - end > _LONGEST_PIECE:
            end = len(piece)
        if end:
            self._log.write(bytes(piece[:end]), self._outputs[output])
            del piece[:end]
        return bool(data)

    def _terminate(self) -> None:
        if not self._terminated:
            self._terminated = True
            self._kill_at = time.monotonic() + self._grace
            self._signal(signal.SIGTERM)

    def _enforce(self) -> None:
        now = time.monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            self._signal(signal.SIGKILL)
        if now >= self._measure_at:
            self._measure_at = now + _MEASURE_EVERY
            self._measure()

    def _measure(self) -> None:
        used = resident(self._task)
        if used > self._memory and not self._out_of_memory:
            self._out_of_memory = True
            limit, use = self._memory >> 20, used >> 20
            self._log.say(f"Memory limit of {limit} MiB exceeded with {use} MiB used.")
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._task, number)
        except ProcessLookupError:  # all gone, or not yet the leader of its group
            self._signal_alone(number)

    def _signal_alone(self, number: int) -> None:
        try:
            os.kill(self._task, number)
        except ProcessLookupError:
            pass

    def _describe(self, code: int) -> str:
        if code < 0:
            self._log.say(f"Container terminated on signal {-code}.")
        elif code > 0:
            self._log.say(f"Container called exit({code}).")
        return f"{max(code, 0)} {max(-code, 0)} {self._terminated:d} {self._out_of_memory:d}"


def supervise(folder: str, *, log: str, memory: int, grace: float) -> None:
    """Fork, and watch the new process. Return only there, for it is now to become the task.

    `memory` is its limit in bytes, `grace` are the seconds from SIGTERM to SIGKILL.
    """
    os.setsid()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wake, waker = _wake_on_signals()
    if not claim(folder, identity(os.getpid())):
        os._exit(0)
    output, task_output = os.pipe()
    errors, task_errors = os.pipe()
    task = os.fork()
    if task == 0:
        _become_task(task_output, task_errors)
        for ours in (wake, waker, output, errors):
            os.close(ours)
        return
    for theirs in (task_output, task_errors):
        os.close(theirs)
    for ours in (output, errors):
        os.set_blocking(ours, False)
    write_whole(f"{folder}/task", identity(task))
    outputs = {output: OUT, errors: ERR}
    supervisor = AttemptSupervisor(task, outputs, log=Log(log, folder), memory=memory, grace=grace)
    write_whole(f"{folder}/exit", supervisor.watch(wake))
    os._exit(0)


def _wake_on_signals() -> tuple[int, int]:
    wake, waker = os.pipe()
    for end in (wake, waker):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, _nothing)
    return wake, waker


def _nothing(*_: object) -> None:
    """Let the wakeup pipe tell of the signal."""


def _become_task(output: int, errors: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (errors, 2)):
        os.dup2(source, target)
    for source in (nothing, output, errors):
        os.close(source)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _MOST_FILES)


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def main(arguments: list[str]) -> None:
    """Run `FOLDER CWD LOG MEMORY GRACE COMMAND…` in the environment that is there."""
    folder, cwd, log, memory, grace, *command = arguments
    supervise(folder, log=log, memory=int(memory), grace=float(grace))
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these; programs must not
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(cwd)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(127)
