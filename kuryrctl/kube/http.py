"""The real transport: kubeconfig or service account by the `kubernetes` client, its connection pool, raw bodies.

Only the client's configuration and pool are used, never its models. Importing the client takes about a second, so it
happens when a connection is made, never with this package. Does not know: what is sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import urllib3

from kuryrctl.core.errors import Invalid, Owner, Unavailable
from kuryrctl.kube.transport import JSON, Response

CONNECT_TIMEOUT_S = 5.0
_HINT = "kubectl version, with the same kubeconfig, shows whether the API server answers"
_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
# An answer that was lost may have had an effect: only what reads is repeated, and once (a kept connection just closed).
# An answer, whatever its status, is the caller's: so Retry-After is too.
_RETRIES = urllib3.Retry(total=1, redirect=0, allowed_methods={"GET"}, respect_retry_after_header=False)


class HttpTransport:
    """Speaks to the API server of a `kubernetes.client.Configuration`."""

    def __init__(self, configuration: Any) -> None:
        from kubernetes.client.rest import RESTClientObject

        self._configuration = configuration
        self._host = configuration.host.rstrip("/")
        self._pool: urllib3.PoolManager = RESTClientObject(configuration).pool_manager

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        content_type: str = JSON,
        timeout_s: float = 30.0,
    ) -> Response:
        """See `Transport`."""
        sent = {**(headers or {}), "Accept": JSON, **({"Content-Type": content_type} if body is not None else {})}
        answer = self._open(method, path, sent, body, timeout_s, preload=True)
        return Response(answer.status, answer.data, {name.lower(): value for name, value in answer.headers.items()})

    def stream(self, path: str, *, timeout_s: float) -> HttpStream:
        """See `Transport`."""
        return HttpStream(self._open("GET", path, {"Accept": JSON}, None, timeout_s, preload=False), self._host)

    def close(self) -> None:
        """See `Transport`."""
        self._pool.clear()

    def _open(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None, timeout_s: float, *, preload: bool
    ) -> urllib3.BaseHTTPResponse:
        timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT_S, timeout_s), read=timeout_s)
        try:
            return self._pool.request(
                method,
                self._host + path,
                body=body,
                headers=headers | self._credential(),
                timeout=timeout,
                retries=_RETRIES,
                preload_content=preload,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _no_answer(self._host, error) from error

    def _credential(self) -> dict[str, str]:
        """The bearer token, if that is the credential. The client refreshes it (token files, exec plugins)."""
        from kubernetes.config import ConfigException

        try:
            settings = self._configuration.auth_settings()
        except (ConfigException, OSError) as error:
            message = f"no credential for the Kubernetes API at {self._host}: {error}"
            raise Unavailable(message, code="KUBE-CREDENTIAL", owner=Owner.USER, hint=_HINT) from error
        return {setting["key"]: setting["value"] for setting in settings.values() if setting["value"]}


class HttpStream:
    """The lines of one chunked answer."""

    def __init__(self, answer: urllib3.BaseHTTPResponse, host: str) -> None:
        self.status = answer.status
        self._answer = answer
        self._host = host
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        try:
            for chunk in self._answer.stream(None):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    if self._closed:  # a TLS socket that was shut down gives what is still in it, undeciphered
                        return
                    yield line
            if rest and not self._closed:
                yield rest
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            # ValueError: Python's TLS socket, read after another thread shut it down.
            if not self._closed:
                raise _no_answer(self._host, error) from error
        finally:
            self._answer.close()

    def close(self) -> None:
        """Shut the socket down: closing a descriptor does not wake a thread that waits in it, a shutdown does."""
        self._closed = True
        try:
            self._answer.shutdown()
        except (ValueError, RuntimeError, OSError):
            self._answer.close()  # its reader had finished: nothing waits


def connected(kubeconfig: str | None, context: str | None) -> HttpTransport:
    """A transport for a kubeconfig (given, $KUBECONFIG, ~/.kube/config), else for the service account of our own pod.

    Raises Invalid when there is none, or when it cannot be used.
    """
    import yaml
    from kubernetes import config
    from kubernetes.client import Configuration

    load_in_cluster: Callable[..., None] = config.load_incluster_config
    load_kubeconfig: Callable[..., None] = config.load_kube_config
    configuration = Configuration()
    configuration.keep_alive = True
    given = kubeconfig or os.environ.get("KUBECONFIG") or ""
    try:
        if not given and not context and _TOKEN.exists() and not Path("~/.kube/config").expanduser().exists():
            load_in_cluster(client_configuration=configuration)
        else:
            load_kubeconfig(given or "~/.kube/config", context, configuration, persist_config=False)
    except (config.ConfigException, OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        where = given or "~/.kube/config (KUBECONFIG is not set)"
        message = f"kubeconfig {where}{f', context {context}' if context else ''}, cannot be used: {error}"
        hint = "set KUBECONFIG, or give --kubeconfig; kubectl config view shows what is in it"
        raise Invalid(message, code="KUBE-CONFIG", owner=Owner.USER, hint=hint) from error
    return HttpTransport(configuration)


def _no_answer(host: str, error: Exception) -> Unavailable:
    reason = str(getattr(error, "reason", None) or error)
    if reason.startswith("HTTP"):  # urllib3 begins with the connection, which `host` says better
        reason = reason.partition("): ")[2] or reason
    message = f"the Kubernetes API at {host} does not answer: {reason}"
    return Unavailable(message, code="KUBE-UNAVAILABLE", owner=Owner.KUBERNETES, hint=_HINT)
