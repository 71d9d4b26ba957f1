"""The CNI entry: passes a runtime's call to the node's agent, and says what is wrong when there is no agent.

`kuryrctl node install` writes this very file as an executable with ``#!PYTHON -IS``, so it uses the standard library
only, runs on Python 3.9, and imports as little as it can: a runtime starts it for every verb of every pod. `os` and
built-in modules serve the usual call; everything else (`json` costs as much as the interpreter) is imported for errors.

The protocol, over a unix socket of root's: one line of JSON ``{"env": {CNI_*}, "config": TEXT}`` there; back a line
``taken`` at once, a line ``ok`` or ``error``, and the CNI answer. An agent that has not said ``taken`` 1.8 s after the
entry began to connect counts as down, so that the runtime knows within 2 s. Knows nothing of what the agent does.
"""

from __future__ import annotations

import os
import sys
from _socket import AF_UNIX, SOCK_STREAM, socket
from time import monotonic

try:
    from _json import encode_basestring_ascii as quoted  # what json itself encodes with
except ImportError:
    from json import dumps as quoted

SOCKET = "/run/kuryrctl/agent.sock"
VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
TAKEN_TIMEOUT_S = 1.8
ANSWER_TIMEOUT_S = 110.0  # the kubelet gives a sandbox 120 s
DELETED_DIR = "deleted"

# Error codes of the specification (CNI 1.1, "Error"); from 100 on they are a plugin's own.
INCOMPATIBLE_VERSION, INVALID_ENVIRONMENT, IO_FAILURE, DECODING_FAILURE = 1, 4, 5, 6
TRY_AGAIN_LATER, PLUGIN_NOT_AVAILABLE = 11, 50

_NEEDED = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "GC": (),
    "STATUS": (),
}
_NO_OBJECT = "the network configuration on stdin is no JSON object"


class NoAgent(Exception):
    """The agent does not answer."""


def main() -> int:
    """Run one CNI call as the environment and stdin say; the exit code."""
    environment = {key: value for key, value in os.environ.items() if key.startswith("CNI_")}
    command = environment.get("CNI_COMMAND", "")
    config = sys.stdin.buffer.read().decode("utf-8", "replace")
    if command == "VERSION":
        return _versions(config)
    missing = [key for key in _NEEDED.get(command, ("a known verb",)) if not environment.get(key)]
    if missing:
        return _fail(config, INVALID_ENVIRONMENT, f'{", ".join(missing)} not set for CNI_COMMAND "{command}"')
    path = _socket_path(config)
    if not path:
        return _fail(config, DECODING_FAILURE, _NO_OBJECT, config[:200])
    try:
        answer = _ask(path, environment, config)
    except (NoAgent, OSError) as error:
        return _without_agent(command, environment, config, path, str(error))
    verdict, _, body = answer.partition(b"\n")
    sys.stdout.buffer.write(body)
    return 0 if verdict == b"ok" else 1


def _ask(path: str, environment: dict[str, str], config: str) -> bytes:
    """What the agent answers, after its ``taken``."""
    agent = socket(AF_UNIX, SOCK_STREAM)
    deadline = monotonic() + TAKEN_TIMEOUT_S
    try:
        agent.settimeout(TAKEN_TIMEOUT_S)
        agent.connect(path)  # a full backlog is refused at once (EAGAIN), as the socket has a timeout
        pairs = ",".join(f"{quoted(key)}:{quoted(value)}" for key, value in environment.items())
        agent.settimeout(_left(deadline))
        agent.sendall(f'{{"env":{{{pairs}}},"config":{quoted(config)}}}\n'.encode())
        agent.settimeout(_left(deadline))
        answer = agent.recv(65536)
        if not answer:
            raise NoAgent("it closed the connection")
        agent.settimeout(ANSWER_TIMEOUT_S)
        while True:
            more = agent.recv(65536)
            if not more:
                break
            answer += more
    finally:
        agent.close()
    taken, _, rest = answer.partition(b"\n")
    if taken != b"taken" or b"\n" not in rest:
        raise NoAgent("it ended before it answered")
    return rest


def _left(deadline: float) -> float:
    """Seconds until then; NoAgent when there are none."""
    left = deadline - monotonic()
    if left <= 0:
        raise NoAgent("timed out")
    return left


def _without_agent(command: str, environment: dict[str, str], config: str, path: str, why: str) -> int:
    """Later, for what must be done by the agent; a DEL is noted for it, so that nothing of the user's hangs."""
    if _parsed(config) is None:
        return _fail(config, DECODING_FAILURE, _NO_OBJECT, config[:200])
    if command == "STATUS":
        return _fail(config, PLUGIN_NOT_AVAILABLE, f"the kuryrctl agent at {path} does not answer", why)
    if command == "DEL":
        try:
            note_deletion(path, environment["CNI_CONTAINERID"], environment["CNI_IFNAME"])
        except (OSError, ValueError) as error:
            return _fail(config, IO_FAILURE, f"DEL could not be noted for the agent at {path}", str(error))
        return 0
    return _fail(config, TRY_AGAIN_LATER, f"the kuryrctl agent at {path} does not answer", why)


def note_deletion(path: str, sandbox: str, ifname: str) -> None:
    """Leave the agent of the socket at `path` a note to unbind. Where no agent ever ran, there is nothing to unbind."""
    if "/" in sandbox + ifname or sandbox[:1] == "." or ":" in sandbox + ifname:
        raise ValueError(f'"{sandbox}" or "{ifname}" is no name')
    note = os.path.join(os.path.dirname(path), DELETED_DIR, f"{sandbox}:{ifname}")  # noqa: PTH118, PTH120 - imports
    try:
        os.close(os.open(note, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileNotFoundError:
        return


def _socket_path(config: str) -> str | None:
    """Where the configuration says the agent listens; None: it is no JSON object."""
    if f'"socket":{quoted(SOCKET)}' in config.replace(" ", ""):  # the usual case, without parsing
        return SOCKET
    parsed = _parsed(config)
    if parsed is None:
        return None
    path = parsed.get("socket") or SOCKET
    return path if isinstance(path, str) else None


def _parsed(config: str) -> dict[str, object] | None:
    import json

    try:
        parsed = json.loads(config)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _versions(config: str) -> int:
    parsed = _parsed(config)
    if parsed is None:
        return _fail(config, DECODING_FAILURE, _NO_OBJECT, config[:200])
    import json

    print(json.dumps({"cniVersion": parsed.get("cniVersion") or VERSIONS[-1], "supportedVersions": VERSIONS}))
    return 0


def _fail(config: str, code: int, message: str, details: str = "") -> int:
    """The error object on stdout, as the specification wants it; the exit code."""
    import json

    wanted = (_parsed(config) or {}).get("cniVersion")
    version = wanted if wanted in VERSIONS else VERSIONS[-1]
    print(json.dumps({"cniVersion": version, "code": code, "msg": message, "details": details}))
    return 1


if __name__ == "__main__":
    sys.exit(main())
