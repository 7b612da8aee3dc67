"""IAM: roles, bindings of devenv.toml, and the decision whether a caller may do something."""
