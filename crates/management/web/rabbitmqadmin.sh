#!/bin/sh
# A broker of RabbitMQ hands its script out here. This one is leveret, which works with that script and does not own it.
cat >&2 <<'TEXT'
This broker is leveret. RabbitMQ's rabbitmqadmin works with it, but is not handed out by it: take version 1 from
RabbitMQ's packages or source, or version 2 from RabbitMQ's releases, and point it at this host and port.
The same is done by the program of this broker:
  leveret ctl --url http://USER:PASSWORD@HOST:15672 list_queues
TEXT
exit 1
