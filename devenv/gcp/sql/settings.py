"""Settings of Cloud SQL instances: validation, and Google's defaults.

See https://cloud.google.com/sql/docs/postgres/admin-api/rest/v1/instances and
https://cloud.google.com/sql/docs/postgres/instance-settings.
"""

import re
from typing import Any

from devenv.gcp.client_types import client_types
from devenv.gcp.errors import InvalidArgument, Unimplemented
from devenv.gcp.messages import every, refuse_unemulated

sqladmin = client_types("google.cloud.sqladmin_v1")

Instance: Any = sqladmin.DatabaseInstance.pb()
Settings: Any = sqladmin.Settings.pb()

ENTERPRISE, ENTERPRISE_PLUS = (
    int(sqladmin.Settings.Edition.ENTERPRISE),
    int(sqladmin.Settings.Edition.ENTERPRISE_PLUS),
)
REGIONAL = (
    Settings.DESCRIPTOR.fields_by_name["availability_type"]
    .enum_type.values_by_name["REGIONAL"]
    .number
)
_VERSIONS = Instance.DESCRIPTOR.fields_by_name["database_version"].enum_type
_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_LONGEST_NAME = 98  # with that of the project and the colon between them
_NETWORK = re.compile(r"projects/[^/]+/global/networks/[^/]+")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_SHARED = ("db-f1-micro", "db-g1-small")
_CUSTOM = re.compile(r"db-custom-([0-9]{1,3})-([0-9]{1,7})")
_OPTIMIZED = re.compile(
    r"db-(perf|c4a-highmem|memory)-optimized-[A-Za-z]+-[0-9]+|db-c4a-highmem-[0-9]+"
)
_LEAST_MEMORY, _MEMORY_STEP = 3840, 256  # MiB
_MOST_CPUS = 96
_NEWEST = 18
_PLUS_BY_DEFAULT = 16  # from this version of PostgreSQL on
# Of each edition: days of transaction logs, which are the most as well, and automatic backups.
_KEPT = {ENTERPRISE: (7, 7, 7), ENTERPRISE_PLUS: (14, 35, 15)}

_FIELDS = every(
    *("name", "database_version", "region", "root_password", "instance_type", "kind", "project"),
    settings=every(
        *("tier", "edition", "user_labels", "availability_type", "pricing_plan", "kind"),
        "replication_type",  # of the first generation; gcloud sends it
        *("activation_policy", "storage_auto_resize", "storage_auto_resize_limit"),
        *("data_disk_type", "data_disk_size_gb", "deletion_protection_enabled"),
        *("connector_enforcement", "settings_version", "retain_backups_on_delete"),
        ip_configuration=every(
            *("ipv4_enabled", "private_network", "ssl_mode", "allocated_ip_range", "require_ssl"),
            *("enable_private_path_for_google_cloud_services", "server_ca_mode"),
            authorized_networks=every("value", "name", "kind", "expiration_time"),
        ),
        backup_configuration=every(
            *("enabled", "start_time", "location", "point_in_time_recovery_enabled", "kind"),
            *("transaction_log_retention_days", "backup_retention_settings"),
        ),
        database_flags=every("name", "value"),
        maintenance_window=every("day", "hour", "update_track", "kind"),
        location_preference=every("zone", "secondary_zone", "kind"),
        insights_config=every(
            *("query_insights_enabled", "record_client_address", "record_application_tags"),
            *("query_string_length", "query_plans_per_minute"),
        ),
    ),
)


def check_name(project: str, name: str) -> None:
    """Raise InvalidArgument for a name that no instance can have."""
    if not _NAME.fullmatch(name) or len(f"{project}:{name}") > _LONGEST_NAME:
        raise InvalidArgument(
            f"Invalid instance name ({name[:100]}): use lowercase letters, digits and hyphens, begin "
            f"with a letter; at most {_LONGEST_NAME} characters with the project."
        )


def new_instance(given: Any) -> Any:
    """Return an instance with only what a caller may set, completed.

    Raises InvalidArgument or Unimplemented.
    """
    refuse_unemulated(given, _FIELDS, where="instance")
    made = Instance(name=given.name, database_version=given.database_version, region=given.region)
    if not made.database_version:
        raise Unimplemented("databaseVersion is required here; without it Google makes MySQL.")
    _version(made)
    made.settings.CopyFrom(given.settings)
    _complete(made)
    return made


def changed_instance(before: Any, given: Any, *, whole: bool = False) -> Any:
    """Return an instance with the settings that a patch names, or with all of an update.

    Raises InvalidArgument.
    """
    if whole:  # its body is an instance that was read, with all that Google adds
        given = Instance(settings=given.settings)
    refuse_unemulated(given, _FIELDS, where="instance")
    for field in ("database_version", "region"):
        if getattr(given, field) not in ("", 0, getattr(before, field)):
            raise Unimplemented(f"{field} of an instance cannot be changed here.")
    version = before.settings.settings_version.value
    wanted = given.settings
    if wanted.HasField("settings_version") and wanted.settings_version.value != version:
        raise InvalidArgument(
            f"settingsVersion is {wanted.settings_version.value}, and the instance has {version}: "
            "somebody changed it meanwhile. Read it and send the change again."
        )
    changed = Instance()
    changed.CopyFrom(before)
    if whole:
        changed.settings.CopyFrom(wanted)
    else:
        _merge(changed.settings, wanted)
    network = before.settings.ip_configuration.private_network
    if network and not changed.settings.ip_configuration.private_network:
        raise InvalidArgument(
            f"settings.ipConfiguration.privateNetwork is {network[:100]!r}; it cannot be removed."
        )
    changed.settings.settings_version.value = version
    _complete(changed)
    changed.settings.settings_version.value = version + 1
    return changed


def _merge(target: Any, given: Any) -> None:
    """Take over what a patch sends: lists, maps and values as they are, `false` and 0 among them."""
    for field, value in given.ListFields():
        if field.is_repeated:
            target.ClearField(field.name)
            getattr(target, field.name).MergeFrom(value)
        elif field.message_type is None:
            setattr(target, field.name, value)
        elif field.message_type.file.package == "google.protobuf":
            getattr(target, field.name).CopyFrom(value)
        else:
            _merge(getattr(target, field.name), value)


def _complete(instance: Any) -> None:
    settings = instance.settings
    settings.kind = "sql#settings"
    default = ENTERPRISE_PLUS if _version(instance) >= _PLUS_BY_DEFAULT else ENTERPRISE
    settings.edition = settings.edition or default
    if settings.edition not in _KEPT:
        raise Unimplemented("settings.edition must be ENTERPRISE or ENTERPRISE_PLUS.")
    _check_tier(settings)
    if settings.activation_policy not in (0, 1):
        raise Unimplemented("settings.activationPolicy must be ALWAYS.")
    settings.activation_policy = 1  # ALWAYS
    settings.pricing_plan = 2  # PER_USE
    settings.availability_type = settings.availability_type or 1
    settings.data_disk_type = settings.data_disk_type or 1
    settings.connector_enforcement = settings.connector_enforcement or 1
    _default(settings, "storage_auto_resize", True)
    _default(settings, "data_disk_size_gb", 10)
    _default(settings, "deletion_protection_enabled", False)
    _default(settings, "settings_version", 1)
    if not 10 <= settings.data_disk_size_gb.value <= 65536:
        raise InvalidArgument("settings.dataDiskSizeGb must be from 10 to 65536.")
    _complete_network(settings.ip_configuration)
    _complete_backups(settings)


def _check_tier(settings: Any) -> None:
    """Raise InvalidArgument for a machine type that the edition does not have."""
    tier, is_plus = settings.tier, settings.edition == ENTERPRISE_PLUS
    if not tier:
        raise InvalidArgument("Missing parameter: settings.tier.")
    if is_plus and not _OPTIMIZED.fullmatch(tier):
        raise InvalidArgument(
            f"Invalid request: Invalid Tier ({tier[:60]}) for (ENTERPRISE_PLUS) Edition. Use a "
            "predefined Tier like db-perf-optimized-N-* instead."
        )
    if is_plus or tier in _SHARED:
        return
    match = _CUSTOM.fullmatch(tier)
    if match is None:
        raise InvalidArgument(
            f"Invalid request: Invalid Tier ({tier[:60]}) for (ENTERPRISE) Edition. Use a custom "
            "Tier like db-custom-1-3840, or db-g1-small."
        )
    cpus, memory = int(match[1]), int(match[2])
    if cpus != 1 and (cpus % 2 or not 2 <= cpus <= _MOST_CPUS):
        raise InvalidArgument(
            f"Invalid request: the Tier {tier} must have 1 vCPU or an even number from 2 to 96."
        )
    low, high = max(_LEAST_MEMORY, cpus * 922), cpus * 6656
    if memory % _MEMORY_STEP or not low <= memory <= max(high, _LEAST_MEMORY):
        raise InvalidArgument(
            f"Invalid request: the Tier {tier} must have a multiple of 256 MiB of memory, at least "
            f"3840, and 0.9 to 6.5 GiB for each vCPU."
        )


def _complete_network(network: Any) -> None:
    _default(network, "ipv4_enabled", True)
    if network.private_network and not _NETWORK.fullmatch(network.private_network):
        raise InvalidArgument(
            f"settings.ipConfiguration.privateNetwork is {network.private_network[:100]!r}; it must be "
            "formatted: projects/PROJECT/global/networks/NETWORK."
        )
    if not network.ipv4_enabled.value and not network.private_network:
        raise InvalidArgument(
            "At least one of Public IP or Private IP or PSC connectivity should be enabled."
        )
    network.ssl_mode = network.ssl_mode or 1
    network.server_ca_mode = network.server_ca_mode or 1


def _complete_backups(settings: Any) -> None:
    backups = settings.backup_configuration
    backups.kind = "sql#backupConfiguration"
    days, most_days, count = _KEPT[settings.edition]
    _default(backups, "enabled", False)
    _default(backups, "point_in_time_recovery_enabled", False)
    _default(backups, "transaction_log_retention_days", days)
    _default(backups.backup_retention_settings, "retained_backups", count)
    backups.backup_retention_settings.retention_unit = 1  # COUNT
    backups.start_time = backups.start_time or "00:00"
    if not _TIME.fullmatch(backups.start_time):
        raise InvalidArgument(
            f"settings.backupConfiguration.startTime is {backups.start_time[:20]!r}; it must be HH:MM."
        )
    if not 1 <= backups.transaction_log_retention_days.value <= most_days:
        raise InvalidArgument(
            "Invalid request: The number of transaction log retention days must be between 1 and "
            f"{most_days}."
        )
    if not 1 <= backups.backup_retention_settings.retained_backups.value <= 365:
        raise InvalidArgument("The number of retained backups must be between 1 and 365.")
    if backups.point_in_time_recovery_enabled.value and not backups.enabled.value:
        raise InvalidArgument("Point-in-time recovery must have automated backups enabled.")
    if settings.availability_type == REGIONAL and not backups.enabled.value:
        raise InvalidArgument("A REGIONAL instance must have automated backups enabled.")


def _version(instance: Any) -> int:
    """Return the major version of PostgreSQL. Raises Unimplemented for another database."""
    known = _VERSIONS.values_by_number.get(instance.database_version)
    name = known.name if known else str(instance.database_version)
    kind, _, number = name.rpartition("POSTGRES_")
    if kind or not number.isdecimal() or not 12 <= int(number) <= _NEWEST:
        raise Unimplemented(
            f"databaseVersion {name} is not emulated: use POSTGRES_12 to _{_NEWEST}."
        )
    return int(number)


def _default(message: Any, field: str, value: Any) -> None:
    if not message.HasField(field):
        getattr(message, field).value = value
