"""Running a server in a thread, ended at the end of the block whatever happens."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

_PATIENCE_S = 20.0


@contextlib.contextmanager
def running(serve: Callable[[], object], stop: Callable[[], object]) -> Iterator[threading.Thread]:
    """`serve` in a thread; an error of its is raised here."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            serve()
        except BaseException as error:  # noqa: BLE001 - raised again below, in the test's own thread
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        stop()
        thread.join(_PATIENCE_S)
    assert not thread.is_alive(), "the server did not stop"
    if failed:
        raise failed[0]
