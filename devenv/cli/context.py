"""Common context of all commands: configuration, output, state of the stack."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from devenv.cli.output import CliOutput
from devenv.config import Config
from devenv.local_stack import LocalStack
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

    def stack(self, *, mode: str, jobs: str, ports: Mapping[str, int]) -> LocalStack:
        """Return the stack of a profile on some ports. Raises ConfigError for an unknown profile."""
        layers = self.config.layers(mode, jobs=jobs)
        secrets = self.config.load_secrets()
        return self.config.stack(layers, secrets=secrets, jobs=jobs, ports=ports)

    def stack_of(self, state: StackState) -> LocalStack:
        """Return the stack that runs, or that would run. Raises ConfigError."""
        mode = state.mode or self.config.about.profile
        jobs = state.jobs or "process"
        stack = self.stack(mode=mode, jobs=jobs, ports=state.ports)
        return replace(stack, debug=state.debug)

    def running_stack(self) -> LocalStack:
        """Return the stack that runs. Raises StackError if none does."""
        state = self.state()
        if not self.is_running():
            raise StackError("The developer environment does not run.", hint="make up")
        state.check_ready()
        return self.stack_of(state)
