"""Reading the ports of a project: our reader against openstacksdk's resource objects, the same answers over local HTTP.

Both authenticate at the same Keystone, use keystoneauth's session and its HTTP library, and take the same bytes, with
every field of a port; each in a process of its own that has imported and connected before it is measured. Beside them:
our reader as it really asks (only the fields that it keeps), and what fetching alone costs (the same session's GET).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from bench.command import main
from bench.measure import child, medians, memory, tell
from bench.result import Measure, Result
from bench.serving import PROJECT, Site, serving

GOAL = 1 / 50


def run(size: int, repeat: int) -> Result:
    """`size` ports."""
    with serving(size, all_fields=True) as whole, serving(size) as stripped:

        def side(reader: str, site: Site) -> Callable[[], dict[str, float]]:
            return lambda: child("bench.ports", "--child", reader, str(size), env=site.environment)

        sides = {
            "ours": side("ours", whole),
            "sdk": side("sdk", whole),
            "as asked": side("ours", stripped),
            "fetch": side("fetch", whole),
        }
        found = medians(sides, repeat)
    cpu = {name: numbers["cpu_s"] for name, numbers in found.items()}
    ratio = cpu["ours"] / cpu["sdk"]
    decoding = (cpu["ours"] - cpu["fetch"]) / (cpu["sdk"] - cpu["fetch"])
    return Result(
        "read ports",
        size,
        repeat,
        ratio,
        f"CPU of our reader / openstacksdk's for {size} ports (1/{1 / ratio:.0f})",
        (
            Measure("CPU, ours / openstacksdk", ratio, "", GOAL),
            Measure("as our reader asks (fields) / openstacksdk", cpu["as asked"] / cpu["sdk"], ""),
            Measure("the same without fetching", decoding, ""),
            Measure("ours", cpu["ours"] * 1e3, "ms"),
            Measure("ours as it asks", cpu["as asked"] * 1e3, "ms"),
            Measure("openstacksdk", cpu["sdk"] * 1e3, "ms"),
            Measure("fetching alone", cpu["fetch"] * 1e3, "ms"),
            Measure("memory that reading added, ours", found["ours"]["memory_mb"], "MB"),
            Measure("memory that reading added, openstacksdk", found["sdk"]["memory_mb"], "MB"),
        ),
    )


def read(reader: str, size: int) -> None:
    """The measured process: connect, read once."""
    readers = {"ours": _ours, "sdk": _sdk, "fetch": _fetch}
    reading = readers[reader]()
    before_mb, started_s = memory()["rss"], time.process_time()
    ports = reading()
    cpu_s = time.process_time() - started_s
    if ports < size:
        raise RuntimeError(f"{ports} ports were read, not {size}")
    tell({"cpu_s": cpu_s, "memory_mb": memory()["peak"] - before_mb})


def _ours() -> Callable[[], int]:
    from kuryrctl import cloud

    neutron = cloud.connect()
    neutron.trunks()
    return lambda: len(neutron.ports())


def _sdk() -> Callable[[], int]:
    import openstack

    connection = openstack.connect()
    list(connection.network.networks())
    return lambda: len(list(connection.network.ports(project_id=PROJECT)))


def _fetch() -> Callable[[], int]:
    """As many bytes through the same session, not decoded; counts ports by their MACs."""
    from kuryrctl.cloud.session import open_session

    transport = open_session(None, None).neutron
    transport.request("GET", "/networks")
    return lambda: transport.request("GET", "/ports").body.count(b'"mac_address"')


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--child", nargs=2)
    reader_and_size = parser.parse_known_args()[0].child
    if reader_and_size:
        read(reader_and_size[0], int(reader_and_size[1]))
    else:
        main(run, "read ports: our reader against openstacksdk's resource objects", size=10_000, repeat=3)
