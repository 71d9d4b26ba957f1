"""Fills an empty database with Neutron's tables: `neutron_database.py CONFIG_FILE`.

From the models, then stamped as migrated: 2 s, where the migrations take a minute.
"""

import sys

import sqlalchemy
from neutron.db.migration import cli
from neutron.db.migration.models import head
from neutron.db.models.securitygroup_default_rules import SecurityGroupDefaultRule
from sqlalchemy import orm


def default_rules() -> list[SecurityGroupDefaultRule]:
    """The template of a new security group, which only a migration inserts: all out, and in from the group itself."""
    return [
        SecurityGroupDefaultRule(
            direction=direction,
            ethertype=ethertype,
            remote_group_id="PARENT" if direction == "ingress" else None,
            used_in_default_sg=True,
            used_in_non_default_sg=direction == "egress",
        )
        for direction in ("egress", "ingress")
        for ethertype in ("IPv4", "IPv6")
    ]


def main() -> None:
    config_file = sys.argv[1]
    sys.argv = ["neutron-db-manage"]
    cli.CONF(["--config-file", config_file, "stamp", "heads"], project="neutron")
    engine = sqlalchemy.create_engine(cli.CONF.database.connection)
    head.get_metadata().create_all(engine)
    with orm.Session(engine) as session:
        session.add_all(default_rules())
        session.commit()
    engine.dispose()
    for config in cli.get_alembic_configs():
        config.neutron_config = cli.CONF
        cli.do_alembic_command(config, "stamp", revision="heads", sql=False)


if __name__ == "__main__":
    main()
