"""Serve a student: what is wrong is found out before torch is loaded; what is under way is finished at the end."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from os import PathLike
from typing import TYPE_CHECKING

from tinythinker.core.errors import SettingsError
from tinythinker.core.progress import say
from tinythinker.serve.limits import Limits, is_loopback
from tinythinker.serve.roster import examples_of, roster_of

if TYPE_CHECKING:
    from tinythinker.serve.gate import Application

_PACKAGES = ("fastapi", "uvicorn", "prometheus_client")


def serve(
    student: str | PathLike[str],
    compared: Sequence[str | PathLike[str]] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    key_env: str | None = None,
    limits: Limits | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Answer requests until the process is told to end: see `tinythinker.api.serve`."""
    _refuse_absent_packages()
    key = _key(host, key_env, is_loopback(host))
    roster = roster_of(student, compared)
    examples = examples_of(student)
    limits = limits or Limits()
    with _listening(host, port) as listener:
        from tinythinker.serve.application import make_application

        roster.get(roster.first)
        application = make_application(roster, examples, limits, key=key, is_local=is_loopback(host))
        shown = f"[{host}]" if ":" in host else host
        _run(application, listener, limits, lambda: (ready or say)(f"http://{shown}:{listener.getsockname()[1]}"))


def _refuse_absent_packages() -> None:
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        wanted = "it; install it with `pip install 'tinythinker[serve]'`"
        raise SettingsError(f"serve: found no package {missing[0].replace('_', '-')}, expected {wanted}")


def _key(host: str, key_env: str | None, is_local: bool) -> str | None:
    """The key that requests must bring. Raises SettingsError if there should be one and is none."""
    if key_env is None:
        if is_local:
            return None
        wanted = "--key-env NAME with a variable that holds a key, since other machines reach this address"
        raise SettingsError(f"--host {host}: found no key, expected {wanted}")
    key = os.environ.get(key_env, "").strip()
    if not key:
        wanted = "an environment variable with the key that requests must bring"
        raise SettingsError(f"--key-env: found no value in the variable of that name (not shown), expected {wanted}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError("--key-env: found a key (not shown) with blanks or special characters, expected plain ones")
    return key


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens. Raises SettingsError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        wanted = "a free port of this machine; choose another --port, or 0 for any"
        raise SettingsError(
            f"--host {host} --port {port}: found that it cannot be used ({reason}), expected {wanted}"
        ) from None
    with listener:
        yield listener


def _run(application: Application, listener: socket.socket, limits: Limits, ready: Callable[[], None]) -> None:
    """Answer until Ctrl-C or SIGTERM; then finish what is under way. A second signal ends at once."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            # The library's own would end the process by the signal once more after all is finished.
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=round(limits.timeout_seconds) + 1,
    )
    Server(config).run([listener])
    say("serve: stopped; every question that was under way has been answered")
