#!/bin/sh
# What the image needs besides the binary: the user of RabbitMQ's image, with its number, and the directories.
# Runs as root while the image is built; ROOT is for trying it elsewhere.
set -eu
ROOT=${ROOT:-}
id=999
if ! grep -q '^rabbitmq:' "$ROOT/etc/group"; then
    echo "rabbitmq:x:$id:" >>"$ROOT/etc/group"
fi
if ! grep -q '^rabbitmq:' "$ROOT/etc/passwd"; then
    echo "rabbitmq:x:$id:$id:leveret:/var/lib/rabbitmq:/usr/sbin/nologin" >>"$ROOT/etc/passwd"
fi
for directory in /var/lib/rabbitmq /var/lib/rabbitmq/data /etc/rabbitmq /etc/rabbitmq/conf.d; do
    mkdir -p "$ROOT$directory"
    chown "$id:$id" "$ROOT$directory"
done
# Nobody else reads the messages.
chmod 700 "$ROOT/var/lib/rabbitmq/data"
