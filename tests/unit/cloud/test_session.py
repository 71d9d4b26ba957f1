"""The session with a real cloud, as far as it goes without one: faults of keystoneauth, and no cost before use."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from keystoneauth1 import exceptions, noauth, session
from keystoneauth1.adapter import Adapter
from requests import Session

from kuryrctl.cloud import connect
from kuryrctl.cloud.session import OpenStackTransport
from kuryrctl.core.errors import Invalid, KuryrError, Owner, Unavailable

AUTH_URL = "http://keystone.invalid/v3"


class _Broken:
    """An adapter whose every request fails in one way."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def request(self, *_: object, **__: object) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "raised", "code", "owner"),
    [
        (exceptions.ConnectFailure("http://neutron.invalid: refused"), Unavailable, "NET-UNREACHABLE", Owner.NEUTRON),
        (exceptions.ConnectFailure(f"{AUTH_URL}/auth: refused"), Unavailable, "NET-UNREACHABLE", Owner.KEYSTONE),
        (exceptions.ConnectTimeout("too long"), Unavailable, "NET-UNREACHABLE", Owner.NEUTRON),
        (exceptions.UnknownConnectionError("cut", OSError()), Unavailable, "NET-UNREACHABLE", Owner.NEUTRON),
        (exceptions.Unauthorized("wrong password"), Invalid, "KST-REFUSED", Owner.KEYSTONE),
        (exceptions.InternalServerError("broken"), Unavailable, "KST-UNAVAILABLE", Owner.KEYSTONE),
        (exceptions.EndpointNotFound("none"), Invalid, "CFG-CLOUD", Owner.USER),
        (exceptions.MissingRequiredOptions([]), Invalid, "CFG-CLOUD", Owner.USER),
    ],
)
def test_a_fault_of_the_session_is_named(error: Exception, raised: type[KuryrError], code: str, owner: Owner) -> None:
    transport = OpenStackTransport(_Broken(error), "project-a", AUTH_URL)  # type: ignore[arg-type]  # what it uses of one

    with pytest.raises(raised) as fault:
        transport.request("GET", "/ports")

    assert (fault.value.code, fault.value.owner) == (code, owner)


@pytest.mark.parametrize(("sent", "code"), [(6, ""), (5, "NET-UNREACHABLE")])
def test_an_answer_that_ends_early_is_no_answer(sent: int, code: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n" + b"123456"[:sent])

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with Session() as http:
            neutron = Adapter(session.Session(auth=noauth.NoAuth(), session=http), endpoint_override=url)
            transport = OpenStackTransport(neutron, "project-a", "")
            if not code:
                assert transport.request("GET", "/ports").body == b"123456"
                return
            with pytest.raises(Unavailable) as fault:
                transport.request("GET", "/ports")

    assert (fault.value.code, fault.value.owner) == (code, Owner.NEUTRON)


@pytest.mark.parametrize("path", ["", "/v3", "/identity"])
@pytest.mark.parametrize("how", ["password", "v3password"])
def test_a_keystone_that_is_down_is_no_bad_configuration(
    how: str, path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever the address looks like: keystoneauth guesses from it when it cannot ask for versions."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    monkeypatch.chdir(tmp_path)
    auth = {"auth_url": f"http://127.0.0.1:{port}{path}", "username": "a", "password": "b", "project_name": "p"}
    domains = {"user_domain_id": "default", "project_domain_id": "default"}
    for name, value in (auth | domains | {"auth_type": how}).items():
        monkeypatch.setenv(f"OS_{name.upper()}", value)

    with pytest.raises(Unavailable) as fault:
        connect()

    assert (fault.value.code, fault.value.owner) == ("NET-UNREACHABLE", Owner.KEYSTONE)


def test_no_cloud_at_all_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    monkeypatch.chdir(tmp_path)

    with pytest.raises(Invalid) as fault:
        connect("no-such-cloud")

    assert (fault.value.code, fault.value.owner) == ("CFG-CLOUD", Owner.USER)
    assert "OS_CLOUD" in fault.value.hint


def test_importing_the_package_imports_no_client_library() -> None:
    code = "import sys, kuryrctl.cloud; print({'openstack', 'keystoneauth1', 'requests'} & sys.modules.keys())"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
