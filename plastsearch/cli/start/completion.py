"""`plastsearch completion`: the script by which a shell completes commands, options and what they take."""

from typing import Annotated, Literal

import typer

Shell = Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="bash, zsh or fish.")]
VARIABLE = "_PLASTSEARCH_COMPLETE"  # by which a shell asks, and main.py knows it

# Not Typer's script: bash breaks words at `:` and `=`, so that SWEEP:best and --set path=value come in pieces.
BASH = """\
_plastsearch_completion() {
    local line=${COMP_LINE:0:COMP_POINT} word before IFS=$' \\t\\n'
    local -a words reply
    word=${line##*[[:space:]]}
    read -ra words <<< "$line"
    mapfile -t reply < <(COMP_WORDS=$line COMP_CWORD=$(( ${#words[@]} - (${#word} > 0) )) \\
        _PLASTSEARCH_COMPLETE=complete_bash "$1" 2>/dev/null)
    [[ ${#reply[@]} -eq 1 && -z ${reply[0]} ]] && reply=()
    # What stands before the last break stays on the line as it is.
    before=${word%"${word##*[$COMP_WORDBREAKS]}"}
    [[ $word == *[:=]* ]] || before=
    COMPREPLY=("${reply[@]#"$before"}")
    [[ ${#reply[@]} -eq 1 && ${reply[0]} == *[:=/.] ]] && compopt -o nospace
    return 0
}
complete -o default -F _plastsearch_completion plastsearch
"""


def completion(shell: Shell) -> None:
    """Print the completion script of a shell: sites, corpora, metrics, presets, settings, spaces, sweeps, trials.

    Example: plastsearch completion bash

    Put it where the shell looks: bash: ~/.local/share/bash-completion/completions/plastsearch; zsh: a file _plastsearch
    in a folder of $fpath; fish: ~/.config/fish/completions/plastsearch.fish.
    """
    if shell == "bash":
        typer.echo(BASH, nl=False)
        return
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    typer.echo(get_completion_script(prog_name="plastsearch", complete_var=VARIABLE, shell=shell))
