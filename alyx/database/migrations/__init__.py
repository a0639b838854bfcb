"""Migrations: what brings a database to schema.yaml and back (contract §7, docs/migrations.md).

`Migrator` is the door; everything else here belongs to it.
"""

from alyx.database.migrations.checks import Finding
from alyx.database.migrations.drift import Drift
from alyx.database.migrations.errors import MigrationError
from alyx.database.migrations.migrator import Migrator, Observed
from alyx.database.migrations.results import Applied, Check, FileState, Judged, Plan, RolledBack, Status, StepState

__all__ = [
    "Applied",
    "Check",
    "Drift",
    "FileState",
    "Finding",
    "Judged",
    "MigrationError",
    "Migrator",
    "Observed",
    "Plan",
    "RolledBack",
    "Status",
    "StepState",
]
