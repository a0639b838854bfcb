"""schema.yaml as a typed, frozen model: load it, validate values against it, compare two of them. Pure; it reads one file."""
