"""What may be asked on the command line: a file for each group of commands."""
