"""The services of the emulated cloud, made of the parts that they share.

A service with methods of its own is added in `CloudServices._make_services`; the server asks it for methods, mounts
and policies, and starts and stops it.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from devenv.gcp import stand_in_model
from devenv.gcp.artifact_registry import ArtifactRegistryService
from devenv.gcp.budgets import BudgetsService
from devenv.gcp.compute.egress import EgressCheck
from devenv.gcp.compute.records import ComputeRecords
from devenv.gcp.compute.service import ComputeService
from devenv.gcp.config import LOOPBACK
from devenv.gcp.control import View
from devenv.gcp.iam.custom_roles import RolesApi
from devenv.gcp.iam.policy_methods import PolicyMethods, own_policy_kinds
from devenv.gcp.iam.usage import IamUsage
from devenv.gcp.identity import certificates, exchange
from devenv.gcp.identity.accounts_api import AccountsApi
from devenv.gcp.identity.credentials import CredentialsApi
from devenv.gcp.identity.federation import Federation
from devenv.gcp.identity.pools_api import PoolsApi
from devenv.gcp.intercept.endpoints import port
from devenv.gcp.intercept.outgoing import OutgoingRequests
from devenv.gcp.locations import location_rpcs
from devenv.gcp.logging.exports import SinkExports
from devenv.gcp.logging.metrics import LogMetricsService
from devenv.gcp.logging.service import LoggingService
from devenv.gcp.logging.sinks import LogSinksService
from devenv.gcp.monitoring.service import MonitoringService
from devenv.gcp.parts import CloudParts
from devenv.gcp.projects import ResourceManagerApi, ServiceUsageApi
from devenv.gcp.pubsub.service import PubSubService
from devenv.gcp.rpc import HttpMount, Rpc, StreamRpc
from devenv.gcp.run_jobs.containers import ContainerSources
from devenv.gcp.run_jobs.runtimes.faulty import FaultyRuntime
from devenv.gcp.run_jobs.service import RunJobsService
from devenv.gcp.run_services.instances import InstanceContext
from devenv.gcp.run_services.service import RunServices
from devenv.gcp.run_v1.api import RunV1Api
from devenv.gcp.run_v1.domains import DomainMappings
from devenv.gcp.runtimes import Runtimes
from devenv.gcp.scheduler.service import SchedulerService
from devenv.gcp.secret_manager.service import SecretManagerService
from devenv.gcp.service import CloudService
from devenv.gcp.service_networking.service import PrivateConnections, ServiceNetworkingService
from devenv.gcp.sql.service import CloudSqlService
from devenv.gcp.storage.service import StorageService
from devenv.gcp.storage_elsewhere import StorageElsewhere
from devenv.gcp.tasks.service import TasksService
from devenv.gcp.telemetry.service import TelemetryService

if TYPE_CHECKING:
    from containers import ContainerEngine


class CloudServices:
    """All services of one project, and the methods about the project itself."""

    def __init__(self, parts: CloudParts, engine: "ContainerEngine | None") -> None:
        """Run jobs and instances as containers of `engine`, or as processes without one."""
        self._parts = parts
        self._secrets = SecretManagerService(
            config=parts.config, store=parts.store, clock=parts.clock, guard=parts.guard
        )
        self._logging = LoggingService(
            config=parts.config, store=parts.store, clock=parts.clock, guard=parts.guard
        )
        self.runtimes = Runtimes(parts, engine, self._logging.output)
        self._monitoring = MonitoringService(
            config=parts.config, store=parts.store, clock=parts.clock, guard=parts.guard
        )
        self._telemetry = self._make_telemetry()
        self._budgets = BudgetsService(config=parts.config, store=parts.store, guard=parts.guard)
        self._networks = ComputeRecords(parts.config, parts.store, parts.clock)
        self._connections = PrivateConnections(self._networks, parts.store)
        self._sql = self._make_sql()
        self._sources = ContainerSources(
            self._secrets.value, self._sql.sockets.open, EgressCheck(self._networks)
        )
        self._run = self._make_run_services()
        self.stop_instance = self._run.instances.stop
        self._send = OutgoingRequests(
            hosts=parts.hosts,
            journal=parts.journal,
            faults=parts.faults,
            who=parts.identity.who,
            send=self._run.send,
            here=f"{LOOPBACK}:{port(parts.ports.plain)}",
        ).deliver
        self._jobs = self._make_jobs()
        self._jobs.settled.append(self._run.settled)
        self._tasks = self._make_tasks()
        self._pubsub = PubSubService(
            config=parts.config,
            store=parts.store,
            clock=parts.clock,
            guard=parts.guard,
            minter=parts.identity,
            send=self._send,
            ready=self._run.ready,
        )
        self._secrets.use_topics(self._pubsub)
        self._scheduler = self._make_scheduler()
        self._all: tuple[CloudService, ...] = (self._run, *self._make_services())

    def take_back(self, seconds: float) -> None:
        """Let all that waits happen earlier, after the clock has lost these seconds."""
        self._tasks.take_back(seconds)
        self._pubsub.take_back(seconds)
        self._scheduler.take_back(seconds)
        self._secrets.plan_anew()

    async def start(self) -> None:
        for service in self._all:
            await service.start()

    async def stop(self) -> None:
        for service in reversed(self._all):
            await service.stop()

    def rpcs(self) -> Iterator[Rpc | StreamRpc]:
        for service in self._all:
            yield from service.rpcs()
        yield from self._policy_rpcs()
        yield from location_rpcs(self._parts.config)
        yield from self._project_rpcs()

    def mounts(self) -> Iterator[HttpMount]:
        for service in self._all:
            yield from service.mounts()
        yield from certificates.mounts(self._parts.identity)
        parts = self._parts
        federation = Federation(parts.identity.pools, parts.clock, parts.hosts.passed)
        yield from exchange.mounts(parts.identity, federation)
        yield from PoolsApi(parts.config, parts.identity, parts.guard, parts.clock).mounts()
        yield from stand_in_model.mounts()

    def views(self) -> Mapping[str, View]:
        """Return what the services tell of themselves to the control API, by name."""
        parts = self._parts
        emails = [account.email for account in parts.identity.accounts]
        usage = IamUsage(parts.config, parts.journal, parts.policies, emails)
        return {
            "executions": self._jobs.executions_of,
            "instances": self._run.instances.show,
            "permissions": usage.permissions,
            "project": usage.project,
            "queues": self._tasks.overview,
            "subscriptions": self._pubsub.overview,
            "messages": self._pubsub.preview,
            "spans": self._telemetry.spans,
            "log": self._logging.view,
            "budgets": self._budgets.view,
        }

    def _make_services(self) -> tuple[CloudService, ...]:
        parts, storage = self._parts, self._storage()
        if isinstance(storage, StorageService):
            self._sql.use_storage(storage)
            self._pubsub.use_storage(storage)
        return (
            *self._make_networking(),
            self._budgets,
            self._tasks,
            self._scheduler,
            self._jobs,
            self._pubsub,
            self._logging,
            self._telemetry,
            self._secrets,
            self._sql,
            self._monitoring,
            LogMetricsService(
                config=parts.config, store=parts.store, clock=parts.clock, guard=parts.guard
            ),
            ArtifactRegistryService(
                config=parts.config, store=parts.store, clock=parts.clock, guard=parts.guard
            ),
            storage,
            self._make_sinks(storage),
        )

    def _make_tasks(self) -> TasksService:
        parts = self._parts
        return TasksService(
            config=parts.config,
            store=parts.store,
            clock=parts.clock,
            guard=parts.guard,
            minter=parts.identity,
            send=self._send,
        )

    def _make_scheduler(self) -> SchedulerService:
        parts = self._parts
        return SchedulerService(
            config=parts.config,
            store=parts.store,
            clock=parts.clock,
            guard=parts.guard,
            minter=parts.identity,
            send=self._send,
            topics=self._pubsub,
            ready=self._run.ready,
        )

    def _make_jobs(self) -> RunJobsService:
        parts = self._parts
        return RunJobsService(
            config=parts.config,
            store=parts.store,
            clock=parts.clock,
            guard=parts.guard,
            runtime=FaultyRuntime(self.runtimes.jobs, parts.journal, parts.faults),
            sources=self._sources,
        )

    def _make_telemetry(self) -> TelemetryService:
        parts = self._parts
        return TelemetryService(
            config=parts.config,
            store=parts.store,
            clock=parts.clock,
            guard=parts.guard,
            authenticator=parts.identity,
            keeping={"metrics": self._monitoring.keep_otlp, "logs": self._logging.keep_otlp},
        )

    def _make_sinks(self, storage: CloudService) -> LogSinksService:
        parts = self._parts
        return LogSinksService(
            config=parts.config,
            store=parts.store,
            clock=parts.clock,
            guard=parts.guard,
            exports=SinkExports(
                store=parts.store,
                clock=parts.clock,
                guard=parts.guard,
                topics=self._pubsub,
                objects=storage if isinstance(storage, StorageService) else None,
                buckets=self._logging.buckets,
            ),
        )

    def _make_sql(self) -> CloudSqlService:
        parts = self._parts
        return CloudSqlService(
            config=parts.config,
            data=parts.data,
            store=parts.store,
            clock=parts.clock,
            guard=parts.guard,
            private_range=self._connections.check_peered,
        )

    def _make_networking(self) -> tuple[CloudService, ...]:
        parts, records, connections = self._parts, self._networks, self._connections
        compute = ComputeService(
            config=parts.config,
            store=parts.store,
            guard=parts.guard,
            records=records,
            in_use=connections.user_of,
        )
        peering = ServiceNetworkingService(
            guard=parts.guard,
            records=records,
            connections=connections,
            store=parts.store,
            uses=self._sql.networks_in_use,
        )
        return compute, peering

    def _make_run_services(self) -> RunServices:
        parts = self._parts
        return RunServices(
            config=parts.config,
            store=parts.store,
            guard=parts.guard,
            claims=parts.identity.claims,
            context=InstanceContext(
                runtime=self.runtimes.services,
                clock=parts.clock,
                sources=self._sources,
                idle=parts.config.instances_idle,
                cold_start=parts.config.cold_start,
            ),
        )

    def _storage(self) -> CloudService:
        parts = self._parts
        if parts.config.storage:
            return StorageElsewhere(parts.config)
        return StorageService(
            config=parts.config,
            store=parts.store,
            clock=parts.clock,
            guard=parts.guard,
            policies=parts.policies,
            data=parts.data / "objects",
            topics=self._pubsub,
            authenticator=parts.identity,
            verifier=parts.identity,
            journal=parts.journal,
            faults=parts.faults,
            who=parts.identity.who,
        )

    def _project_rpcs(self) -> Iterator[Rpc]:
        """Yield the methods about the project and its accounts, which no service of its own has."""
        parts = self._parts
        config, guard, identity = parts.config, parts.guard, parts.identity
        yield from CredentialsApi(
            project=config.project, identity=identity, guard=guard, clock=parts.clock
        ).rpcs()
        yield from AccountsApi(
            config=config,
            identity=identity,
            guard=guard,
            members=parts.policies,
            opened=lambda account: parts.ports.open(account.name, account.email),
            closed=lambda account: parts.ports.close(account.name),
        ).rpcs()
        yield from RolesApi(config, parts.policies.roles, guard, parts.clock).rpcs()
        yield from ResourceManagerApi(config, guard).rpcs()
        yield from ServiceUsageApi(config, guard, parts.store).rpcs()
        run = (self._run, self._jobs)
        mappings = DomainMappings(config, parts.store, guard, parts.clock)
        methods = (rpc for service in run for rpc in service.rpcs())
        yield from RunV1Api(config, methods, mappings).rpcs()

    def _policy_rpcs(self) -> Iterator[Rpc]:
        parts = self._parts
        methods = PolicyMethods(parts.policies, parts.guard)
        kinds = (kind for service in self._all for kind in service.policy_kinds())
        for kind in (*kinds, *own_policy_kinds(parts.config, parts.identity.knows)):
            yield from methods.rpcs(kind)
