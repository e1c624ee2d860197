"""The script that makes a shell complete our command lines: what shtab makes of the parsers, and what bash needs beside.

Bash ends a word at ``@``, ``:`` and ``=``, which are inside of ours (``--total @FILE``, ``--probe filesize:PATH``); but what it
replaces on the line may begin at another place. So our function puts the words together before shtab's function sees them,
and takes off each answer what stays on the line.
"""

from __future__ import annotations

from pollprog import tools
from pollprog.arguments import parser

__all__ = ["completion"]

WORDS = r"""
_pollprog_words_or_files() {
  if [[ $1 == *=* ]]; then  # of=FILE
    compgen -P "${1%%=*}=" -f -- "${1#*=}"
  else
    compgen -A command -A file -- "$1"
  fi
}

_pollprog_total() {
  [[ $1 != @* ]] || compgen -P @ -f -- "${1#@}"
}

_pollprog_pids() {
  local process
  case $1 in
    btrfs:*) compgen -P btrfs: -d -- "${1#*:}" ;;
    *) compgen -W "RESOURCES" -- "$1" ;;
  esac
  for process in /proc/"$1"*; do  # ours, and no thread of the kernel
    [[ ${process##*/} == *[!0-9]* || ! -O $process || ! -e $process/exe ]] || echo "${process##*/}"
  done
}

_pollprog_probe() {
  case $1 in
    PATHS) compgen -P "${1%%:*}:" -f -- "${1#*:}" ;;
    *) compgen -W "NAMES" -- "$1" ;;
  esac
}

_pollprog_probe_name() {
  compgen -W "PROBES" -- "$1"
}
"""
"""One function for each kind of value: it prints what the word that was begun may become."""
WHOLE = r"""
_pollprog() {
  local -a typed=("${COMP_WORDS[@]}") whole=()
  local rest=$COMP_LINE at=$COMP_CWORD index word
  local -a COMP_WORDS=()
  local COMP_CWORD=0
  for index in "${!typed[@]}"; do
    word=${typed[index]}
    if ((index)) && [[ $rest != [[:blank:]]* && ($word =~ ^[@:=]+$ || ${typed[index - 1]} =~ ^[@:=]+$) ]]; then
      whole[${#whole[@]} - 1]+=$word
    else
      whole+=("$word")
    fi
    rest=${rest#*"$word"}
    ((index != at)) || at=-${#whole[@]}
  done
  for index in "${!whole[@]}"; do
    word=${whole[index]}
    [[ $word != --?*=* ]] || COMP_WORDS+=("${word%%=*}")
    COMP_WORDS+=("${word#--?*=}")
    ((index + 1 != -at)) || COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  done
  word=${COMP_WORDS[COMP_CWORD]}
  case ${COMP_WORDS[1]-} in call | submit | show | watch | cancel | pause | resume)
    if ((COMP_CWORD > 1)) && [[ $word != -* && ${COMP_WORDS[COMP_CWORD - 1]} != -* ]]; then
      # what the daemon knows; each with a space behind it if it is whole, and quoted
      mapfile -t COMPREPLY < <(pollprog completion bash -- "${COMP_WORDS[@]:1:COMP_CWORD}" </dev/null 2>/dev/null)
      COMPREPLY=("${COMPREPLY[@]#"${word%"$2"}"}")
      compopt -o nospace 2>/dev/null
      return
    fi ;;
  esac
  _shtab_pollprog "$@"
  word=${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=("${COMPREPLY[@]#"${word%"$2"}"}")
  if [[ $word == *:* ]]; then
    compopt -o filenames 2>/dev/null
  elif [[ $word == @* ]]; then  # which, as the beginning of a name, would be quoted
    for index in "${!COMPREPLY[@]}"; do
      word=${COMPREPLY[index]#@}
      [[ ! -d $word ]] || word+=/
      printf -v "COMPREPLY[index]" @%q "$word"
    done
  fi
  if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[:/] ]]; then
    compopt -o nospace 2>/dev/null
  fi
}

complete -o bashdefault -F _pollprog pollprog
"""


def completion(shell: str) -> str:
    """The script that makes this shell complete our command lines."""
    import shtab

    if shell != "bash":
        return f"{shtab.complete(parser(), shell=shell)}\n"
    paths = [name for name, pattern in tools.ARGUMENTS.items() if pattern == ":.+"]
    names = [f"{name}:" if name in paths else name for name in sorted(tools.PROBES)]
    named = sorted({*tools.PROBES, *tools.RESOURCES})
    words = WORDS.replace("PATHS", " | ".join(f"{name}:*" for name in paths))
    words = words.replace("NAMES", " ".join(names)).replace("PROBES", " ".join(named))
    words = words.replace("RESOURCES", " ".join(f"{name}:" for name in sorted(tools.RESOURCES)))
    return f"{shtab.complete(parser(), shell=shell, preamble=words)}\n{WHOLE}"
