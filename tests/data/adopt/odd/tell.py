#!/usr/bin/python3
import os
os.system("umount /srv/data")
