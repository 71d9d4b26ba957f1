"""`world …`: an observation of both sides as a file, for commands that then need neither."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from kuryrctl.cli.base import Command, ShowOne


class WorldSave(Command):
    """Save what Kubernetes and the cloud hold now to a file, which reading commands take with --world FILE

    Pods, nodes, namespaces, NetworkPolicies, Services and our own objects; ports, networks, routers, security groups,
    load balancers and floating IPs: the fields that our commands read, and no others. No credential, Secret or
    environment is in it, and of the annotations those that load balancers know.
    """

    examples = """\
  kuryrctl world save world.json
  kuryrctl status --world world.json
  kuryrctl port list --world world.json"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Where to."""
        parser = super().get_parser(prog_name)
        parser.add_argument("file", metavar="FILE", help="is written, or replaced as a whole")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Read both sides; a side that does not answer is an error, a kind that is not in full is told."""
        from datetime import UTC, datetime

        from kuryrctl.cli.engine import lease_of
        from kuryrctl.cli.files import write_file
        from kuryrctl.cli.world import read
        from kuryrctl.core.cloud import CloudState
        from kuryrctl.core.saved_world import SavedWorld, Unread, encode
        from kuryrctl.kube import own_identity

        settings = self.settings(parsed_args)
        made_at = datetime.now(UTC)
        reading = read(settings)
        holder = lease_of(settings, settings.kube()).holder()
        world = SavedWorld(
            made_at=made_at,
            made_by=own_identity(),
            config=settings.config,
            engine=holder.identity if holder else "",
            unread={kind: Unread(error.message, error.code, error.owner) for kind, error in reading.errors.items()},
            cluster=reading.cluster,
            cloud=CloudState(**{name: getattr(reading.cloud, name) for name in CloudState.__struct_fields__}),
        )
        write_file(parsed_args.file, encode(world), what="world", code="WORLD-FILE")
        for kind, why in world.unread.items():
            print(f"not in full: {kind}s: {why.message}", file=self.app.stderr)
        print(
            f"saved: {len(world.cluster.pods)} pods, {len(world.cluster.policies)} network policies,"
            f" {len(world.cluster.services)} Services, {len(world.cloud.ports)} ports,"
            f" {len(world.cloud.security_groups)} security groups, {len(world.cloud.load_balancers)} load balancers",
            file=self.app.stderr,
        )


class WorldShow(ShowOne):
    """Show what a saved world holds: when it was made, of which cluster, and how many objects of each kind"""

    takes_config = False
    takes_cluster = False
    examples = """\
  kuryrctl world show world.json"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Which file."""
        parser = super().get_parser(prog_name)
        parser.add_argument("file", metavar="FILE", help="written by: kuryrctl world save FILE")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """One line for each kind."""
        from kuryrctl.cli.columns import Joined
        from kuryrctl.cli.files import read_world

        world = read_world(parsed_args.file)
        cluster, cloud = world.cluster, world.cloud
        shown = {
            "made_at": world.made_at.isoformat(timespec="seconds"),
            "made_by": world.made_by,
            "cluster_id": world.config.cluster_id,
            "kube_system_uid": cluster.kube_system_uid,
            "project_id": cloud.project_id,
            "nodes": len(cluster.nodes),
            "namespaces": len(cluster.namespaces),
            "pods": len(cluster.pods),
            "network_policies": len(cluster.policies),
            "services": len(cluster.services),
            "endpoint_slices": len(cluster.endpoint_slices),
            "ports": len(cloud.ports),
            "security_groups": len(cloud.security_groups),
            "load_balancers": len(cloud.load_balancers),
            "floating_ips": len(cloud.floating_ips),
            "not_in_full": Joined([str(kind) for kind in world.unread]),
        }
        return tuple(shown), tuple(shown.values())
