"""Brings the lab's software: Debian packages, the OpenStack environment, Open vSwitch, Go programs, images.

Everything lands in the cache folder, complete or not at all; what is there is never made again. Starts nothing.
"""

from pathlib import Path

from kuryrctl.lab.install import apt, golang, images, ovs, pip, versions
from kuryrctl.lab.stages import Context, Stage

__all__ = ["stages", "summary"]


def stages(binaries: Path | None = None) -> list[Stage]:
    """The graph of installations; `binaries` is a folder of ready-made programs to use instead of building them."""
    apt_packages = versions.RUNTIME_APT_PACKAGES + (() if binaries else versions.BUILD_APT_PACKAGES)

    def debian_packages(context: Context) -> None:
        apt.install(apt_packages, context.report, context.layout.log_file("install-apt"))

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
        Stage("install-programs", "building Kubernetes, containerd and runc", programs, needs=("install-apt",)),
        Stage("install-images", "making container images", test_images, needs=("install-apt", "install-programs")),
    ]


def summary() -> str:
    """What an installation brings, for telling before it begins."""
    return (
        f"Debian packages ({', '.join(versions.RUNTIME_APT_PACKAGES + versions.BUILD_APT_PACKAGES)}); "
        f"OpenStack ({', '.join(versions.OPENSTACK_PACKAGES)}) from PyPI; Open vSwitch and OVN of Debian "
        f"{versions.DEBIAN_WITH_OVS}, unpacked, not installed; Kubernetes {versions.KUBERNETES}, containerd "
        f"{versions.CONTAINERD} and runc {versions.RUNC}, built from their Go modules"
    )
