# shellcheck shell=sh disable=SC2015,SC2030,SC2031,SC2034,SC2154,SC2317  # one program in several files
# A file system of which nothing more is known than that it can be mounted.
#
# What a file of this kind has, each function called with the path of the device:
#   NAME_needs             tells, by `problem`, what is missing here
#   NAME_take              makes it ready to be mounted; may set mount_seconds and more_options
#   NAME_has_turned_clean  while mount waits: 0 if to wait is of no use any more
#   NAME_refused           after a mount that failed: 0 try again, 75 somebody uses it, else 1
#   NAME_mounted           after the mount: may still find that it is not ours
#   NAME_proven            DEVICE LOOKS: 0 ours alone, 2 cannot be proven, 3 it is not so

plain_needs() { :; }
plain_take() { :; }
plain_has_turned_clean() { return 1; }
plain_refused() { return 1; }
plain_mounted() { :; }
plain_proven() { return 2; }
