"""The commands of the command line, which `cli` asks for and shows."""
