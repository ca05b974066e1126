# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# bash completion of simplon: the program itself says what fits (gateway/cli/src/completion.h).

_simplon() {
  local cur words cword files line
  # Names and addresses contain colons and options an equals sign; both belong to the word here.
  _get_comp_words_by_ref -n =: cur words cword
  COMPREPLY=()
  {
    read -r files || return 0
    while IFS=$'\t' read -r line _; do
      COMPREPLY+=("$line")
    done
  } < <("${words[0]}" __complete "${words[@]:1:cword-1}" "$cur" 2>/dev/null)
  if [[ $files == files ]]; then
    compopt -o filenames 2>/dev/null
    _filedir
  fi
  if [[ $cur == --*=* ]]; then
    # What bash replaces begins behind the equals sign.
    COMPREPLY=("${COMPREPLY[@]#"${cur%%=*}="}")
  else
    __ltrim_colon_completions "$cur"
  fi
}

complete -F _simplon simplon
