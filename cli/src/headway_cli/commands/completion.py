"""``headway completion``: the script that makes Tab work."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from headway_cli.helping import Command, new_app
from headway_cli.terminal import show


class Shell(StrEnum):
    """Shells that can complete headway's commands."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


SCRIPTS = {
    Shell.BASH: """
_headway_completion() {
    local IFS=$'\\n'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
                   _HEADWAY_COMPLETE=complete_bash "$1" ) )
}
complete -o default -F _headway_completion headway
""",
    Shell.ZSH: """
#compdef headway
_headway_completion() {
    eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _HEADWAY_COMPLETE=complete_zsh headway)
}
compdef _headway_completion headway
""",
    Shell.FISH: """
function __headway_complete
    env _HEADWAY_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=$argv[1] \\
        _TYPER_COMPLETE_ARGS=(commandline -cp) headway
end
complete --command headway --no-files --condition "__headway_complete is-args" \\
    --arguments "(__headway_complete get-args)"
""",
}
"""What the shells run on Tab; the protocol behind it is Typer's."""


EPILOG = """\b
Put it where your shell looks for it:
  bash  echo 'source <(headway completion bash)' >> ~/.bashrc
  zsh   echo 'source <(headway completion zsh)' >> ~/.zshrc
  fish  headway completion fish > ~/.config/fish/completions/headway.fish
"""


app = new_app("")


@app.command("completion", cls=Command, epilog=EPILOG)
def completion(
    shell: Annotated[
        Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish: the shell to make it for.")
    ],
) -> None:
    """Print what makes Tab work in a shell."""
    show(SCRIPTS[shell].strip())
