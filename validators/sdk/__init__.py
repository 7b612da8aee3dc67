"""SDK of container validators: a validator adds one function, `validate(request) -> ValidationResult`."""
