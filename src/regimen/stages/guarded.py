"""A function of the user's in a process of its own, so that it may hang, raise or end there.

The process is ``python -m regimen.stages.guarded``; what goes through its pipes is pickled, with
its length before it. After a failure the next call starts a new one.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from regimen.processes import module_command, module_environment
from regimen.settings.base import FunctionSettings
from regimen.stages.user_code import load_function


class FunctionFailed(ValueError):
    """The function gave no number; says why."""


@dataclass(slots=True)
class GuardedFunction:
    """``function`` of ``file``, called with ``arguments`` besides those of the call.

    Args:
        file: of the function.
        function: its name.
        arguments: keyword arguments of every call.
        seconds: after which a call has failed, and its process is ended.
    """

    file: str
    function: str
    arguments: dict[str, Any]
    seconds: float
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __call__(self, *given: Any) -> float:
        """The number that the function returns.

        Raises:
            FunctionFailed: it raised, took too long, ended its process, or gave no number.
        """
        process = self._process or self._start()  # not counted: it takes half a second
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self.seconds, stop)
        timer.start()
        try:
            assert process.stdin is not None
            _send(process.stdin, given)
            answer = _receive(process.stdout)
        except BrokenPipeError:
            answer = None
        finally:
            timer.cancel()
        if answer is None:
            self.close()
            if late.is_set():
                raise FunctionFailed(f"no answer within {self.seconds:g} seconds")
            raise FunctionFailed("the function ended its process; see what it printed")
        value, problem = answer
        if problem:
            raise FunctionFailed(problem)
        return float(value)

    def _start(self) -> subprocess.Popen[bytes]:
        load_function(self.file, self.function)  # what is wrong with the file is said here
        self._process = subprocess.Popen(
            module_command("regimen.stages.guarded"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=module_environment(),
        )
        assert self._process.stdin is not None
        _send(self._process.stdin, (str(Path(self.file).resolve()), self.function, self.arguments))
        if _receive(self._process.stdout) is None:
            self.close()
            raise FunctionFailed("the process of the function did not start")
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __del__(self) -> None:
        """Leave no process behind."""
        self.close()


def guarded(section: FunctionSettings, seconds: float) -> GuardedFunction:
    """The function of a section, guarded.

    Raises:
        SettingsError: there is no such file or function.
    """
    load_function(section.file, section.function)
    return GuardedFunction(section.file, section.function, section.arguments, seconds)


def _send(pipe: IO[bytes], value: Any) -> None:
    content = pickle.dumps(value)
    pipe.write(len(content).to_bytes(8, "big") + content)
    pipe.flush()


def _receive(pipe: IO[bytes] | None) -> Any:
    """The next value; None at the end of the pipe."""
    assert pipe is not None
    size = pipe.read(8)
    if len(size) < 8:
        return None
    content = pipe.read(int.from_bytes(size, "big"))
    return pickle.loads(content)  # written by this package's other process


def main() -> int:
    """Call the function with what comes in until nothing does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the function prints must not come between the answers
    file, name, arguments = _receive(sys.stdin.buffer)
    function = load_function(file, name)
    _send(out, "ready")
    while (given := _receive(sys.stdin.buffer)) is not None:
        try:
            answer = (float(function(*given, **arguments)), "")
        except Exception as error:  # whatever it raises is told, and its process goes on
            answer = (0.0, f"{type(error).__name__}: {error}")
        _send(out, answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
