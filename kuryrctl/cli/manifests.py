"""Which cluster a linter judges: that of manifests, a live or saved one, or one with manifests on top of it.

Does not know: what is judged in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from kuryrctl.cli.settings import Settings
from kuryrctl.cli.world import read_cluster
from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.policy.difference import applied
from kuryrctl.kube import controllers, documents


class Judging(Struct, frozen=True):
    """The cluster, whose objects of a kind are judged: those of `files` (by ``namespace/name``; None: all), and of
    `namespace` (None: of all)."""

    cluster: ClusterState
    of_files: Mapping[str, str] | None
    namespace: str | None

    @property
    def files(self) -> Mapping[str, str]:
        """The file of each object that has one."""
        return self.of_files or {}

    def concerns(self, subject: str) -> bool:
        """Whether an object (``namespace/name``) is to be judged."""
        wanted = self.namespace in (None, subject.partition("/")[0])
        return wanted and (self.of_files is None or subject in self.of_files)


def to_judge(settings: Settings, parsed_args: argparse.Namespace, title: str) -> Judging:
    """What the options of `lint_view.add_lint_options` name; `title` is the kind (``NetworkPolicy``) that is judged.

    Raises Invalid (MANIFEST), and what reading the cluster raises.
    """
    if not parsed_args.filename:
        return Judging(read_cluster(settings), None, parsed_args.namespace)
    read = list(documents.documents(map(Path, parsed_args.filename)))
    cluster = documents.cluster_of(read)  # refuses what has no metadata or no name
    cluster = controllers.allocated(cluster, read, settings.config.service_cidrs)
    if parsed_args.live or parsed_args.world:
        cluster = applied(read_cluster(settings), cluster, documents.named_namespaces(read))
    metas = [(each.body["metadata"], each.source) for each in read if each.body["kind"] == title]
    files = {f"{meta.get('namespace') or 'default'}/{meta['name']}": source for meta, source in metas}
    return Judging(cluster, files, parsed_args.namespace)
