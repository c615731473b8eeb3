"""Small stand-ins, made by code, with answers known from construction."""
