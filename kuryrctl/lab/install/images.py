"""Container images as OCI archives, made by hand: no registry is asked for anything.

Layout: OCI image-spec v1.1 (oci-layout, index.json, blobs). Times and owners are fixed, so equal contents give equal
digests. busybox's shell prefers its own applets to what lies on PATH, so dash is /bin/sh in the test image.
"""

import hashlib
import io
import platform
import re
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.install import versions
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.process import run, write_atomically

FOLDERS = ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr/bin", "var/run")
SERVED_BY_OTHERS = {"sh": "dash", "nc": "nc.openbsd", "curl": "curl"}
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
GROUP = b"root:x:0:\nnobody:x:65534:\n"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class File(msgspec.Struct, frozen=True):
    """One entry of a layer: bytes, or the target of a symbolic link; a folder has neither."""

    content: bytes | None = None
    target: str = ""
    mode: int = 0o755


def install(layout: Layout) -> None:
    """What every node imports: `pause` for sandboxes, agnhost with a shell, curl and nc for tests, and CoreDNS."""
    built = [layout.bin / "agnhost", layout.bin / "coredns"]
    inputs = [_program("busybox"), *map(_program, SERVED_BY_OTHERS.values()), *built]
    stamp = layout.images / "inputs.json"
    present = {str(path): f"{path.stat().st_size} {path.stat().st_mtime_ns}" for path in [*inputs, Path(__file__)]}
    if stamp.exists() and msgspec.json.decode(stamp.read_bytes()) == present:
        return
    _make(layout)
    write_atomically(stamp, msgspec.json.encode(present), mode=0o644)


def _make(layout: Layout) -> None:
    busybox = _program("busybox")
    applets = {f"bin/{name}": File(target="busybox") for name in run([busybox, "--list"]).split()}
    base: dict[str, File] = {folder: File() for folder in FOLDERS}
    base |= {"bin/busybox": File(busybox.read_bytes()), "etc/passwd": File(PASSWD), "etc/group": File(GROUP)}
    del applets["bin/busybox"]
    pause = {**applets, **base}
    _write(layout.images / "pause.tar", versions.PAUSE_IMAGE, pause, ("/bin/sleep",), ("2147483647",))

    others = {f"bin/{name}": _program(program) for name, program in SERVED_BY_OTHERS.items()}
    test = {**pause, "agnhost": File((layout.bin / "agnhost").read_bytes())}
    for name, program in others.items():
        test[name] = File(program.read_bytes())
        test |= {library.lstrip("/"): File(Path(library).read_bytes()) for library in _libraries(program)}
    _write(layout.images / "agnhost.tar", versions.TEST_IMAGE, test, ("/agnhost",), ("pause",))

    dns = {"coredns": File((layout.bin / "coredns").read_bytes())}
    _write(layout.images / "coredns.tar", versions.DNS_IMAGE, dns, ("/coredns",), ())


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise LabError(f"no program {name} for the test image", hint="kuryrctl lab up installs it with apt")
    return Path(found)


def _libraries(program: Path) -> list[str]:
    return re.findall(r"(/\S+) \(0x", run(["ldd", program]))


def _write(
    archive: Path, name: str, files: Mapping[str, File], entrypoint: tuple[str, ...], command: tuple[str, ...]
) -> None:
    content = oci_archive(name, files, entrypoint, command)
    if not archive.exists() or archive.read_bytes() != content:
        write_atomically(archive, content, mode=0o644)


def oci_archive(name: str, files: Mapping[str, File], entrypoint: tuple[str, ...], command: tuple[str, ...]) -> bytes:
    """An OCI archive with one image of one layer, called `name` when containerd imports it.

    `command` is what a pod's `args` replace, `entrypoint` what they follow.
    """
    layer = _tar(files)
    target = {"architecture": ARCHITECTURES.get(platform.machine(), platform.machine()), "os": "linux"}
    config = msgspec.json.encode(
        {
            **target,
            "config": {
                "Env": ["PATH=/bin:/usr/bin"],
                "Entrypoint": entrypoint,
                "Cmd": command,
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
        }
    )
    entry = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    entry |= {"platform": target, "annotations": {"io.containerd.image.name": name}}
    blobs = {f"blobs/sha256/{_digest(blob).partition(':')[2]}": File(blob) for blob in (layer, config, manifest)}
    return _tar(
        {
            "oci-layout": File(b'{"imageLayoutVersion":"1.0.0"}', mode=0o644),
            "index.json": File(msgspec.json.encode({"schemaVersion": 2, "manifests": [entry]}), mode=0o644),
            **blobs,
        }
    )


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _descriptor(media_type: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _tar(files: Mapping[str, File]) -> bytes:
    """A tar of these files, sorted, with every parent folder, all owned by root at time 0."""
    parents = {str(parent): File() for path in files for parent in Path(path).parents if str(parent) != "."}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, file in sorted({**parents, **files}.items()):
            entry = tarfile.TarInfo(path)
            entry.mode = file.mode
            if file.target:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.target
                archive.addfile(entry)
            elif file.content is None:
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            else:
                entry.size = len(file.content)
                archive.addfile(entry, io.BytesIO(file.content))
    return out.getvalue()
