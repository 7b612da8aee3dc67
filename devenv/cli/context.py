"""Common context of all commands: configuration, output, state of the stack."""

from dataclasses import asdict, dataclass, replace

from devenv.cli.output import CliOutput
from devenv.config import Config, Ports
from devenv.product import Product
from devenv.secrets import Secrets
from devenv.stack import statefile
from devenv.stack.problems import StackError, StateUnreadable
from devenv.stack.statefile import StackState


@dataclass(frozen=True, slots=True)
class Context:
    """Context of a command. `config` has the ports of devenv.toml; a stack may have taken others."""

    config: Config
    output: CliOutput

    def is_running(self) -> bool:
        return statefile.is_running(self.config.lock)

    def state(self) -> StackState:
        """Return what the state file says. Raises StateUnreadable."""
        return statefile.read(self.config.state_file)

    def last_state(self) -> StackState:
        """Return the state that the last stack left, an empty one where the file is damaged.

        Only for what begins anew: nothing that runs may be judged by it.
        """
        try:
            return self.state()
        except StateUnreadable:
            return StackState()

    def projects(self) -> tuple[str, ...]:
        """Return the compose projects that this folder has used since the last reset."""
        state = self.last_state()
        return state.projects if state.folder == str(self.config.root) else ()

    def product(self, *, ports: Ports, mode: str, jobs: str) -> Product:
        return Product(
            config=self.config.on(ports),
            secrets=Secrets.load(self.config.secrets_file),
            mode=mode,
            jobs=jobs,
        )

    def product_of(self, state: StackState) -> Product:
        """Return the product of the stack that runs, or that would run."""
        ports = ports_of(self.config, state)
        product = self.product(ports=ports, mode=state.mode, jobs=state.jobs)
        return replace(product, debug=state.debug)

    def running_product(self) -> Product:
        """Return the product of the stack that runs. Raises StackError if none does."""
        state = self.state()
        if not self.is_running() or state.phase != "ready":
            raise StackError("The developer environment does not run.", hint="make up")
        return self.product_of(state)


def ports_of(config: Config, state: StackState) -> Ports:
    """Return the ports that the stack has taken, or the wanted ones."""
    known = asdict(config.ports)
    return Ports(**(known | {name: state.ports[name] for name in known if name in state.ports}))
