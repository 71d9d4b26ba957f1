"""etcd, the API server, the controller manager and the scheduler: processes of the root namespace.

The API server listens on the management bridge, since nodes reach it at its real address and never through a Service.
"""

from kuryrctl.lab import layout as places
from kuryrctl.lab.kubernetes import api, pki
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.process import wait_until
from kuryrctl.lab.stages import Context

API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
ETCD = "etcd"
COMPONENTS = (ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER)
ISSUER = "https://kubernetes.default.svc"


def start_api_server(context: Context) -> None:
    """Certificates, etcd and the API server; returns when it is ready."""
    layout, processes = context.layout, context.processes
    pki.ensure(layout)
    processes.start(ETCD, etcd_command(layout))
    context.report("waiting for the API server")
    processes.start(API_SERVER, api_server_command(layout))
    wait_until(
        lambda: api.ready(layout),
        "the API server is ready",
        60,
        log=layout.log_file(API_SERVER),
        alive=lambda: processes.running(API_SERVER) and processes.running(ETCD),
    )


def start_controllers(context: Context) -> None:
    """Controller manager and scheduler; returns when service accounts are made, which every pod needs."""
    layout, processes = context.layout, context.processes
    processes.start(CONTROLLER_MANAGER, controller_manager_command(layout))
    processes.start(SCHEDULER, scheduler_command(layout))
    wait_until(
        lambda: api.exists(layout, "/api/v1/namespaces/default/serviceaccounts/default"),
        "the controller manager has made the default service account",
        60,
        log=layout.log_file(CONTROLLER_MANAGER),
        alive=lambda: processes.running(CONTROLLER_MANAGER),
    )


def etcd_command(layout: Layout) -> list[str]:
    client = f"http://127.0.0.1:{places.ETCD_PORT}"
    peer = f"http://127.0.0.1:{places.ETCD_PEER_PORT}"
    return [
        str(layout.bin / "etcd"),
        "--name=lab",
        f"--data-dir={layout.db / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=lab={peer}",
        "--unsafe-no-fsync",  # a lab's data need not survive a power cut
        "--log-level=warn",
    ]


def api_server_command(layout: Layout) -> list[str]:
    keys = layout.pki
    return [
        str(layout.bin / API_SERVER),
        f"--etcd-servers=http://127.0.0.1:{places.ETCD_PORT}",
        f"--bind-address={places.MANAGEMENT_HOST}",
        f"--advertise-address={places.MANAGEMENT_HOST}",
        f"--secure-port={places.API_SERVER_PORT}",
        f"--tls-cert-file={keys / 'apiserver.crt'}",
        f"--tls-private-key-file={keys / 'apiserver.key'}",
        f"--client-ca-file={keys / 'ca.crt'}",
        f"--kubelet-client-certificate={keys / 'kubelet-client.crt'}",
        f"--kubelet-client-key={keys / 'kubelet-client.key'}",
        f"--kubelet-certificate-authority={keys / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={keys / 'service-account.pub'}",
        f"--service-account-signing-key-file={keys / 'service-account.key'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-cluster-ip-range={','.join(places.SERVICE_CIDRS)}",
        "--endpoint-reconciler-type=lease",
        "--allow-privileged=true",
        "--v=1",
    ]


def controller_manager_command(layout: Layout) -> list[str]:
    keys = layout.pki
    return [
        str(layout.bin / CONTROLLER_MANAGER),
        f"--kubeconfig={layout.kubeconfig('controller-manager')}",
        "--bind-address=127.0.0.1",
        f"--secure-port={places.CONTROLLER_MANAGER_PORT}",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={keys / 'service-account.key'}",
        f"--root-ca-file={keys / 'ca.crt'}",
        f"--cluster-signing-cert-file={keys / 'ca.crt'}",
        f"--cluster-signing-key-file={keys / 'ca.key'}",
        "--kube-api-qps=300",  # the default of 20 delays a fresh cluster's service accounts by 4 s
        "--kube-api-burst=600",
        "--allocate-node-cidrs=false",  # pod addresses are Neutron's
        "--v=1",
    ]


def scheduler_command(layout: Layout) -> list[str]:
    kubeconfig = layout.kubeconfig("scheduler")
    return [
        str(layout.bin / SCHEDULER),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={places.SCHEDULER_PORT}",
        "--leader-elect=false",
        "--v=1",
    ]
