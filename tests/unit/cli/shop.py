"""The shipped example as a world: what the cloud holds of it once the engine has done everything."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from kuryrctl.core.config import Config
from kuryrctl.core.policy.compiler import Policies
from kuryrctl.core.policy.difference import placed
from kuryrctl.core.saved_world import SavedWorld
from kuryrctl.kube.documents import read_files
from tests.repository import ROOT
from tests.unit.core.policy.worlds import cloud_of

SHOP = Path(ROOT) / "examples" / "shop.yaml"


def shop_world() -> SavedWorld:
    """A converged one."""
    cluster = placed(read_files([SHOP]), Config())
    compiled = Policies(Config())
    compiled.replace(cluster)
    cloud = cloud_of(cluster, compiled)
    return SavedWorld(made_at=datetime.now(UTC), made_by="test", config=Config(), cluster=cluster, cloud=cloud)
