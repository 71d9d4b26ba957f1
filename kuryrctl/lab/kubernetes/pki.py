"""The cluster's certificate authority, the certificates of its parts, and their kubeconfigs.

Made once, all or nothing; kept until `reset`. Source: kubernetes.io "PKI certificates and requirements".
"""

import base64
import datetime
import ipaddress
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kuryrctl.lab import layout as places
from kuryrctl.lab.layout import NODES, Layout
from kuryrctl.lab.process import write_atomically

LIFETIME = datetime.timedelta(days=3650)
CLOCK_SKEW = datetime.timedelta(days=1)
API_SERVER_URL = f"https://{places.MANAGEMENT_HOST}:{places.API_SERVER_PORT}"
API_SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{places.CLUSTER_DOMAIN}",
    "127.0.0.1",
    places.MANAGEMENT_HOST,
    *places.KUBERNETES_SERVICE_IPS,
)


class Certificate(msgspec.Struct, frozen=True):
    """A certificate to issue: file name, who it names, groups (organisation), and the names a server answers to."""

    file: str
    common_name: str
    organisation: str = "kuryr.lab"
    names: tuple[str, ...] = ()


CERTIFICATES = (
    Certificate("apiserver", "kube-apiserver", names=API_SERVER_NAMES),
    Certificate("kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
    Certificate("admin", "admin", "system:masters"),
    Certificate("controller-manager", "system:kube-controller-manager"),
    Certificate("scheduler", "system:kube-scheduler"),
    Certificate("engine", "kuryr:engine", "kuryr:engine"),
    *(Certificate(f"agent-{node.name}", f"kuryr:agent:{node.name}", "kuryr:agents") for node in NODES),
    *(
        Certificate(node.name, f"system:node:{node.name}", "system:nodes", (node.name, "127.0.0.1", node.address))
        for node in NODES
    ),
)
WITH_KUBECONFIG = (
    *("admin", "controller-manager", "scheduler", "engine"),
    *(node.name for node in NODES),
    *(f"agent-{node.name}" for node in NODES),
)


def ensure(layout: Layout) -> None:
    """Make the whole set unless it is there, and a kubeconfig for each part that speaks to the API server."""
    if not layout.pki.exists():
        temporary = layout.pki.with_name("pki.new")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True, mode=0o700)
        _make_authority(temporary)
        for certificate in CERTIFICATES:
            issue(temporary, certificate)
        _make_service_account_key(temporary)
        temporary.replace(layout.pki)
    for certificate in CERTIFICATES:
        if not (layout.pki / f"{certificate.file}.crt").exists():  # a state kept by an earlier version
            issue(layout.pki, certificate)
    for name in WITH_KUBECONFIG:
        write_kubeconfig(layout, name)


def issue(folder: Path, certificate: Certificate) -> None:
    """Sign FILE.crt with a fresh FILE.key by the authority in `folder`; good for servers and for clients."""
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)  # as _make_authority made it
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name(certificate.common_name, certificate.organisation), authority.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
    )
    if certificate.names:
        builder = builder.add_extension(x509.SubjectAlternativeName(_names(certificate.names)), critical=False)
    signed = builder.sign(signer, hashes.SHA256())
    _write_key(folder / f"{certificate.file}.key", key)
    write_atomically(folder / f"{certificate.file}.crt", signed.public_bytes(serialization.Encoding.PEM), 0o644)


def write_kubeconfig(layout: Layout, name: str) -> Path:
    """A kubeconfig for the client certificate NAME, with everything in the file itself."""

    def encoded(file: str) -> str:
        return base64.b64encode((layout.pki / file).read_bytes()).decode()

    cluster = {"server": API_SERVER_URL, "certificate-authority-data": encoded("ca.crt")}
    user = {"client-certificate-data": encoded(f"{name}.crt"), "client-key-data": encoded(f"{name}.key")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
    }
    path = layout.kubeconfig(name)
    write_atomically(path, msgspec.yaml.encode(content))
    return path


def _make_authority(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("kuryr.lab", "kuryr.lab")
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(folder / "ca.key", key)
    write_atomically(folder / "ca.crt", certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _make_service_account_key(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    _write_key(folder / "service-account.key", key)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_atomically(folder / "service-account.pub", public, 0o644)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _name(common_name: str, organisation: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _names(names: Iterable[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_atomically(path, encoded, 0o600)
