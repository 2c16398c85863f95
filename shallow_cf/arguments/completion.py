"""The arguments of the command that lets shells complete the others."""

from __future__ import annotations

from typing import Any

from shallow_cf.arguments.shared import Parser, command, file_name
from shallow_cf.commands.completion import SHELLS, run_completion


def add_commands(commands: Any, root: Parser) -> None:
    """Add completion, which reads all commands off the parser they hang on."""
    parser = command(
        commands, "completion", run_completion, "shallow-cf completion bash", writes=False
    )
    parser.add_argument("shell", choices=SHELLS, help="shell that is to complete: %(choices)s")
    parser.set_defaults(root=root, names_file=file_name)
