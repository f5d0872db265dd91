#!/bin/sh
# Counts epochs, a second each. On SIGTERM, which is how a run without the SDK is told to stop, it
# finishes the epoch, says how far it came, and ends with 0.
epochs=${1:-30}
epoch=0
stop=
trap 'stop=1' TERM
while [ "$epoch" -lt "$epochs" ] && [ -z "$stop" ]; do
  epoch=$((epoch + 1))
  sleep 1 &
  while kill -0 $! 2>/dev/null; do wait $!; done   # the signal interrupts a wait, not the epoch
  echo "epoch $epoch/$epochs"
done
if [ -n "$stop" ]; then echo "stopped after $epoch epochs"; else echo "done"; fi
