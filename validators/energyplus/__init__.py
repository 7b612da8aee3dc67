"""Runs a building model through EnergyPlus and reports what the engine says and computes."""
