"""Where the containers of jobs run."""
