"""Fills an empty database with Octavia's tables and its lookup rows: `octavia_database.py CONFIG_FILE`."""

import sys
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from octavia.common import constants
from octavia.db import base_models, models
from octavia.db.migration import cli
from sqlalchemy import orm

LOOKUPS = (
    (models.ProvisioningStatus, constants.SUPPORTED_PROVISIONING_STATUSES),
    (models.OperatingStatus, constants.SUPPORTED_OPERATING_STATUSES),
    (models.HealthMonitorType, constants.SUPPORTED_HEALTH_MONITOR_TYPES),
    (models.Algorithm, constants.SUPPORTED_LB_ALGORITHMS),
    (models.Protocol, constants.SUPPORTED_PROTOCOLS),
    (models.SessionPersistenceType, constants.SUPPORTED_SP_TYPES),
    (models.AmphoraRoles, constants.SUPPORTED_AMPHORA_ROLES),
    (models.LBTopology, constants.SUPPORTED_LB_TOPOLOGIES),
    (models.VRRPAuthMethod, constants.SUPPORTED_VRRP_AUTH),
    (models.L7RuleType, constants.SUPPORTED_L7RULE_TYPES),
    (models.L7RuleCompareType, constants.SUPPORTED_L7RULE_COMPARE_TYPES),
    (models.L7PolicyAction, constants.SUPPORTED_L7POLICY_ACTIONS),
    (models.ClientAuthenticationMode, constants.SUPPORTED_CLIENT_AUTH_MODES),
)


def add_placeholders(session: orm.Session) -> None:
    """The deleted flavor and zone that a migration inserts; load balancers without one refer to them."""
    nil, name = constants.NIL_UUID, "DELETED-PLACEHOLDER"
    session.add(models.FlavorProfile(id=nil, name=name, provider_name=constants.DELETED, flavor_data="{}"))
    session.add(
        models.AvailabilityZoneProfile(id=nil, name=name, provider_name=constants.DELETED, availability_zone_data="{}")
    )
    session.flush()
    session.add(models.Flavor(id=nil, flavor_profile_id=nil, name=name, enabled=False, description=""))
    session.add(models.AvailabilityZone(availability_zone_profile_id=nil, name=nil, enabled=False, description=""))


def main() -> None:
    config_file = sys.argv[1]
    sys.argv = ["octavia-db-manage"]
    cli.CONF(["--config-file", config_file, "stamp", "head"], project="octavia")
    engine = sqlalchemy.create_engine(cli.CONF.database.connection)
    base_models.BASE.metadata.create_all(engine)
    with orm.Session(engine) as session:
        for model, names in LOOKUPS:
            session.add_all([model(name=name) for name in names])
        session.flush()
        add_placeholders(session)
        session.commit()
    engine.dispose()
    migrations = Path(cli.__file__).parent
    config = Config(migrations / "alembic.ini")
    config.set_main_option("script_location", "octavia.db.migration:alembic_migrations")
    config.octavia_config = cli.CONF  # its env.py reads the connection from there
    command.stamp(config, "head")


if __name__ == "__main__":
    main()
