# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# Guard fence: a command that ends with 0 only when the other node is surely off.

fence_needs() {
    [ -n "$FENCE_COMMAND" ] || { problem "GUARD is fence, but FENCE_COMMAND is empty"; return; }
    [ "$action" = check ] || return 0
    fence_word=${FENCE_COMMAND%% *}
    case $fence_word in
        /*) [ -x "$fence_word" ] || problem "FENCE_COMMAND $fence_word cannot be run" ;;
        *[!A-Za-z0-9_.+-]*) ;;                  # more than a plain command: sh will know
        *) has_tool "$fence_word" || problem "FENCE_COMMAND: there is no command $fence_word" ;;
    esac
}

fence_take() {
    [ "$FENCE_WHEN" = unproven ] && [ "$GLHA_RELEASED" = 1 ] && return
    cold_check
    say "fencing the other node: $FENCE_COMMAND"
    bounded "$(left)" sh -c "$FENCE_COMMAND" ||
        fail "the fence command did not confirm (status $?) that the other node is off: not mounting"
    fences=yes
}

fence_proven() { return 2; }
fence_give_up() { :; }
