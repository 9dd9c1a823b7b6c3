DEV=/dev/mapper/mmp
MNT=/srv/data
take() { mount -t ext4 "$DEV" "$MNT"; }
