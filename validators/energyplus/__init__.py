"""Validator that simulates a building model with EnergyPlus and reports messages and metrics."""
