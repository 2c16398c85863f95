"""The command `completion`: a script by which a shell completes commands, options and files."""

from __future__ import annotations

from shallow_cf.commands.shared import Args, Outcome

SHELLS = ("bash", "zsh", "tcsh")


def run_completion(args: Args) -> Outcome:
    """A script for tab completion in a shell.

    It needs the extra `completion`. Made once, the script completes commands, options and
    files without starting Python.
    """
    try:
        import shtab
    except ModuleNotFoundError:
        raise ValueError(
            'completion needs the package shtab: pip install "shallow_cf[completion]"'
        ) from None
    for parser in args.root.commands.values():
        for action in parser._actions:
            if action.type is args.names_file:
                action.complete = shtab.FILE
    script = shtab.complete(args.root, args.shell)
    return Outcome({"shell": args.shell, "script": script}, script.rstrip())
