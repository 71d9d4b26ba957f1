"""The lab's own few requests, against a server on the loopback."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.openstack import api


class Cloud(BaseHTTPRequestHandler):
    """Keystone and Neutron in one: gives a token, has one network, refuses routers."""

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        content = json.dumps(body).encode()
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        if self.headers.get("X-Auth-Token") != "t0":
            self.answer(401, {})
        elif self.path.startswith("/v2.0/security-groups?"):
            self.answer(200, {"security_groups": [{"id": "g", "asked": self.path.partition("?")[2]}]})
        else:
            self.answer(200, {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v3/auth/tokens":
            self.answer(201, {"token": {"project": {"id": "p"}}}, X_Subject_Token="t0")
        elif self.path == "/v2.0/routers":
            self.answer(409, {"NeutronError": {"message": "Quota exceeded"}})
        else:
            self.answer(201, body)

    def log_message(self, *args):
        """Not in the tests' output."""


@pytest.fixture
def cloud(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cloud)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(api, "KEYSTONE_URL", f"{url}/v3")
    monkeypatch.setattr(api, "NEUTRON_URL", url)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_answers_and_a_closed_port_does_not(cloud):
    port = cloud.server_port

    assert api.answers(port), "401 is an answer too"
    assert not api.answers(1)


def test_objects_are_found_and_made_in_the_users_project(cloud):
    network = api.Network("demo", "pw")

    assert network.project_id == "p"
    assert network.find("security-groups", name="x y") == [{"id": "g", "asked": "name=x+y"}]
    assert network.create("security-groups", name="n") == {"name": "n"}


def test_a_refusal_says_what_was_asked_and_what_was_answered(cloud):
    network = api.Network("demo", "pw")

    with pytest.raises(LabError, match=r"POST http://127.0.0.1:\d+/v2.0/routers was answered with 409") as refused:
        network.create("routers", name="r")

    assert "Quota exceeded" in refused.value.detail
