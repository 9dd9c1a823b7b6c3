#!/bin/bash
pidof web && exit 0
pkill keepalived
