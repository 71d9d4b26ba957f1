"""Debian packages: only what is missing, and never a started service."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.process import follow, run

SERVICE_GUARD = Path("/usr/sbin/policy-rc.d")  # invoke-rc.d and deb-systemd-invoke ask it before they start anything
GUARD_TEXT = "#!/bin/sh\n# kuryrctl lab: nothing that is being installed may start a service\nexit 101\n"
APT_OPTIONS = ("-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0")


def missing(packages: Iterable[str]) -> list[str]:
    """Those that dpkg does not call installed (it ends with 1 when it has never heard of one of them)."""
    wanted = list(packages)
    if shutil.which("dpkg-query") is None:
        return wanted
    command = "dpkg-query -W -f '${Package} ${Status}\\n' \"$@\" 2>/dev/null || true"
    installed = {
        line.split()[0]
        for line in run(["sh", "-c", command, "sh", *wanted]).splitlines()
        if line.endswith(" installed")
    }
    return [package for package in wanted if package not in installed]


def install(packages: Iterable[str], report: Callable[[str], None], log: Path) -> None:
    """Install what is missing of `packages`, without recommended ones; package lists are refreshed only if needed."""
    wanted = missing(packages)
    if not wanted:
        return
    if shutil.which("apt-get") is None:
        raise LabError(
            f"this machine has no apt-get, and {', '.join(wanted)} are not installed",
            hint="the lab runs on Debian 12 and its relatives; install these packages by your own means elsewhere",
        )
    report(f"apt: {' '.join(wanted)}")
    command = ["apt-get", *APT_OPTIONS, "install", "-y", "--no-install-recommends", *wanted]
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    with services_guarded():
        try:
            follow(command, report, log=log, env=environment)
        except LabError:
            # Lists may be old; and an installation that was cut short (an "apt-get clean" beside it took the archives
            # away) leaves dependencies that apt repairs only in a run of its own.
            report("apt: refreshing the package lists")
            follow(["apt-get", *APT_OPTIONS, "update"], report, log=log, env=environment)
            follow(["apt-get", *APT_OPTIONS, "install", "-y", "--fix-broken"], report, log=log, env=environment)
            follow(command, report, log=log, env=environment)


@contextmanager
def services_guarded() -> Iterator[None]:
    """While this lasts, no package's installation starts or restarts a service."""
    remove_guard()
    kept = SERVICE_GUARD.with_name("policy-rc.d.before-kuryrctl")
    if SERVICE_GUARD.exists():
        SERVICE_GUARD.replace(kept)
    SERVICE_GUARD.write_text(GUARD_TEXT)
    SERVICE_GUARD.chmod(0o755)
    try:
        yield
    finally:
        remove_guard()


def remove_guard() -> None:
    """Take our guard away, also one that an interrupted installation left, and put back the machine's own."""
    kept = SERVICE_GUARD.with_name("policy-rc.d.before-kuryrctl")
    if SERVICE_GUARD.exists() and SERVICE_GUARD.read_text(errors="replace") == GUARD_TEXT:
        SERVICE_GUARD.unlink()
    if kept.exists():
        kept.replace(SERVICE_GUARD)


def debian_mirror(folder: Path = Path("/etc/apt")) -> str:
    """The address this machine itself gets Debian's packages from (deb822 and one-line sources, sources.list(5))."""
    for source in sorted((folder / "sources.list.d").glob("*.sources")):
        for stanza in source.read_text().split("\n\n"):
            fields = {
                key.strip().lower(): value.split()
                for line in stanza.splitlines()
                if not line.startswith("#")
                for key, colon, value in [line.partition(":")]
                if colon
            }
            if _is_debian(fields.get("suites", []), fields.get("components", [])) and fields.get("uris"):
                return fields["uris"][0]
    for source in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))]:
        for line in source.read_text().splitlines() if source.exists() else []:
            words = [word for word in line.split() if not word.startswith("[") and not word.endswith("]")]
            if len(words) > 3 and words[0] == "deb" and _is_debian(words[2:3], words[3:]):
                return words[1]
    raise LabError("no Debian mirror in this machine's apt sources", hint="the lab needs one to get Open vSwitch from")


def _is_debian(suites: list[str], components: list[str]) -> bool:
    names = {suite.split("-")[0] for suite in suites if "/" not in suite and not suite.endswith("-security")}
    return bool(names & {"bookworm", "trixie", "stable"}) and "main" in components
