"""Container validators, one folder each, and the SDK that they are built on."""
