"""What users do with a farm: on the database of this machine, or over HTTP."""
