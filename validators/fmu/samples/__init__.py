"""Small FMUs with their sources; `python -m validators.fmu.samples.build` builds them."""
