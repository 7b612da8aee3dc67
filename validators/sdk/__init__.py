"""What every container validator shares: a validator adds one function, `validate(request) -> Result`."""
