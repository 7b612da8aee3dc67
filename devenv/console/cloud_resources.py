"""Kinds of resources that programs run on: databases, networks, images, domains and schemas."""

from devenv.console.resources import ResourceColumn, ResourceKind, ResourcePage

_SQL, _COMPUTE, _PUBSUB = (
    "sqladmin.googleapis.com",
    "compute.googleapis.com",
    "pubsub.googleapis.com",
)

_DATABASES = ResourceKind(
    name="databases",
    title="Databases",
    host=_SQL,
    path="/v1/{project}/instances/{short}/databases",
    items="items",
    columns=(ResourceColumn("Charset", "charset"), ResourceColumn("Collation", "collation")),
    empty="It has no database yet.",
)
_USERS = ResourceKind(
    name="users",
    title="Users",
    host=_SQL,
    path="/v1/{project}/instances/{short}/users",
    items="items",
    columns=(ResourceColumn("Type", "type"), ResourceColumn("Host", "host")),
    empty="It has no user yet.",
)
_BACKUPS = ResourceKind(
    name="backups",
    title="Backups",
    host=_SQL,
    path="/v1/{project}/instances/{short}/backupRuns",
    items="items",
    key="id",
    columns=(
        ResourceColumn("Status", "status", "badge"),
        ResourceColumn("Type", "type"),
        ResourceColumn("Begun", "startTime", "time"),
        ResourceColumn("Description", "description"),
    ),
    empty="It has no backup yet. Next: gcloud sql backups create.",
)
_OPERATIONS = ResourceKind(
    name="operations",
    title="Operations",
    host=_SQL,
    path="/v1/{project}/operations",
    items="items",
    query={"instance": "{short}", "maxResults": "20"},
    columns=(
        ResourceColumn("Type", "operationType"),
        ResourceColumn("Status", "status", "badge"),
        ResourceColumn("By", "user"),
        ResourceColumn("Begun", "insertTime", "time"),
        ResourceColumn("Error", "error.errors.0.message"),
    ),
    empty="Nothing was done to it yet.",
)
_CONNECTIONS = ResourceKind(
    name="connections",
    title="Private connections",
    host="servicenetworking.googleapis.com",
    path="/v1/services/servicenetworking.googleapis.com/connections",
    items="connections",
    query={"network": "projects/{number}/global/networks/{short}"},
    key="peering",
    columns=(
        ResourceColumn("Service", "service"),
        ResourceColumn("Ranges", "reservedPeeringRanges", "mono"),
    ),
    empty="It has no private connection to services of Google.",
)
SQL = ResourcePage(
    path="/sql",
    title="Cloud SQL",
    place="sql",
    lead="Instances of PostgreSQL, made by the Cloud SQL Admin API.",
    kinds=(
        ResourceKind(
            name="instances",
            title="Instances",
            host=_SQL,
            path="/v1/{project}/instances",
            items="items",
            columns=(
                ResourceColumn("State", "state", "badge"),
                ResourceColumn("Version", "databaseVersion"),
                ResourceColumn("Tier", "settings.tier", "mono"),
                ResourceColumn("Availability", "settings.availabilityType"),
                ResourceColumn("Created", "createTime", "time"),
            ),
            parts=(_DATABASES, _USERS, _BACKUPS, _OPERATIONS),
            empty="There is no instance. Next: gcloud sql instances create, or Terraform.",
        ),
    ),
)
_ADDRESS_COLUMNS = (
    ResourceColumn("Address", "address", "mono"),
    ResourceColumn("Prefix", "prefixLength", "number"),
    ResourceColumn("Type", "addressType"),
    ResourceColumn("Purpose", "purpose"),
    ResourceColumn("Status", "status", "badge"),
)
NETWORKS = ResourcePage(
    path="/networks",
    title="Networks",
    place="networks",
    lead=(
        "VPC networks of Compute Engine, with their subnetworks, addresses, rules, routes and private "
        "connections. They are settings: nothing is sent through a network, and no rule stops a request."
    ),
    kinds=(
        ResourceKind(
            name="networks",
            title="Networks",
            host=_COMPUTE,
            path="/compute/v1/{project}/global/networks",
            items="items",
            columns=(
                ResourceColumn("Subnetworks", "subnetworks", "short"),
                ResourceColumn("Automatic", "autoCreateSubnetworks"),
                ResourceColumn("Created", "creationTimestamp", "time"),
            ),
            parts=(_CONNECTIONS,),
            empty="There is no network.",
        ),
        ResourceKind(
            name="subnetworks",
            title="Subnetworks",
            host=_COMPUTE,
            path="/compute/v1/{region}/subnetworks",
            items="items",
            columns=(
                ResourceColumn("Network", "network", "short"),
                ResourceColumn("Range", "ipCidrRange", "mono"),
                ResourceColumn("Google access", "privateIpGoogleAccess"),
                ResourceColumn("Created", "creationTimestamp", "time"),
            ),
            empty="There is no subnetwork. Next: gcloud compute networks subnets create.",
        ),
        ResourceKind(
            name="addresses",
            title="Addresses of the region",
            host=_COMPUTE,
            path="/compute/v1/{region}/addresses",
            items="items",
            columns=_ADDRESS_COLUMNS,
            empty="There is no address. Next: gcloud compute addresses create.",
        ),
        ResourceKind(
            name="global-addresses",
            title="Global addresses",
            host=_COMPUTE,
            path="/compute/v1/{project}/global/addresses",
            items="items",
            columns=_ADDRESS_COLUMNS,
            empty="There is no global address. A private connection needs a range of them.",
        ),
        ResourceKind(
            name="firewalls",
            title="Firewall rules",
            host=_COMPUTE,
            path="/compute/v1/{project}/global/firewalls",
            items="items",
            columns=(
                ResourceColumn("Network", "network", "short"),
                ResourceColumn("Direction", "direction"),
                ResourceColumn("Priority", "priority", "number"),
                ResourceColumn("From", "sourceRanges", "mono"),
                ResourceColumn("To", "destinationRanges", "mono"),
            ),
            empty="There is no firewall rule. Next: gcloud compute firewall-rules create.",
        ),
        ResourceKind(
            name="routes",
            title="Routes",
            host=_COMPUTE,
            path="/compute/v1/{project}/global/routes",
            items="items",
            columns=(
                ResourceColumn("Network", "network", "short"),
                ResourceColumn("To", "destRange", "mono"),
                ResourceColumn("Priority", "priority", "number"),
            ),
            empty="There is no route. Next: gcloud compute routes create.",
        ),
    ),
)
REGISTRY = ResourcePage(
    path="/registry",
    title="Artifact Registry",
    place="registry",
    lead="Repositories that images of jobs and services are named by.",
    kinds=(
        ResourceKind(
            name="repositories",
            title="Repositories",
            host="artifactregistry.googleapis.com",
            path="/v1/{location}/repositories",
            items="repositories",
            columns=(
                ResourceColumn("Format", "format"),
                ResourceColumn("URI", "registryUri", "mono"),
                ResourceColumn("Description", "description"),
                ResourceColumn("Created", "createTime", "time"),
            ),
            empty="There is no repository. Next: gcloud artifacts repositories create.",
        ),
    ),
)
DOMAINS = ResourcePage(
    path="/domains",
    title="Domain mappings",
    place="run",
    above=("Cloud Run services", "/run"),
    lead="Domains that lead to Cloud Run services. No name is resolved here.",
    kinds=(
        ResourceKind(
            name="mappings",
            title="Domain mappings",
            host="run.googleapis.com",
            path="/apis/domains.cloudrun.com/v1/namespaces/{id}/domainmappings",
            items="items",
            key="metadata.name",
            columns=(
                ResourceColumn("Service", "spec.routeName"),
                ResourceColumn("Certificate", "spec.certificateMode"),
                ResourceColumn("State", "status.conditions.0.reason", "badge"),
                ResourceColumn("Created", "metadata.creationTimestamp", "time"),
            ),
            empty="There is no domain mapping. Next: gcloud beta run domain-mappings create.",
        ),
    ),
)
SCHEMAS = ResourcePage(
    path="/schemas",
    title="Schemas and snapshots",
    place="pubsub",
    above=("Pub/Sub", "/pubsub"),
    lead="Schemas that messages of topics must follow, and snapshots to seek subscriptions to.",
    kinds=(
        ResourceKind(
            name="schemas",
            title="Schemas",
            host=_PUBSUB,
            path="/v1/{project}/schemas",
            items="schemas",
            query={"view": "FULL"},
            columns=(
                ResourceColumn("Type", "type"),
                ResourceColumn("Revision", "revisionId", "mono"),
                ResourceColumn("Created", "revisionCreateTime", "time"),
            ),
            empty="There is no schema. Next: gcloud pubsub schemas create.",
        ),
        ResourceKind(
            name="snapshots",
            title="Snapshots of subscriptions",
            host=_PUBSUB,
            path="/v1/{project}/snapshots",
            items="snapshots",
            columns=(
                ResourceColumn("Topic", "topic", "short"),
                ResourceColumn("Expires", "expireTime", "time"),
            ),
            empty="There is no snapshot. Next: gcloud pubsub snapshots create.",
        ),
    ),
)

PAGES = (SQL, NETWORKS, REGISTRY, DOMAINS, SCHEMAS)
