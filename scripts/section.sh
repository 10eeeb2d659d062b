# section TITLE: a heading with the minutes and seconds since the script began. To be sourced.
section() {
  local bold='' plain=''
  [[ ! -t 1 ]] || bold=$'\e[1m' plain=$'\e[0m'
  printf '\n%s== %s%s  (%d:%02d)\n' "$bold" "$1" "$plain" $((SECONDS / 60)) $((SECONDS % 60))
}
