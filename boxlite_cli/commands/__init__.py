"""One module per command; each has a COMMAND. `boxlite_cli.catalog` lists them."""
