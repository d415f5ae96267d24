#!/bin/sh
# Draws passwords and the first token into a volume, each once, and shows then and never again those that people need.
# Each container finds in a volume of its own what it needs, and nothing else.
set -eu
all=${1:-/secrets} shares=${2:-/shares}
environment=${3:-} # of those that share a server, see environments-secrets.sh
role=flaggery${environment:+_$environment} of=${environment:+$environment-}
mkdir -p "$all"
cd "$all"
draw() {
    [ -e "$1" ] && return
    head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >new
    mv new "$1" # at once: its presence says that all of it is there
}
show() {
    if [ -e "$1" ]; then
        echo "$2 is the one shown at the first start"
    else
        draw "$1"
        echo "$2, shown only this once: $(cat "$1")"
    fi
}
give() {
    share=$shares/$1
    shift
    mkdir -p "$share"
    cp "$@" "$share"
}

# Containers run as different users.
umask 022
for who in database admin edge; do
    draw $who-password
done
echo "postgres://$role:$(cat database-password)@postgres:5432/$role?sslmode=disable" >database-url
echo "postgres://${role}_admin:$(cat admin-password)@postgres:5432/$role?sslmode=disable" >admin-database-url
echo "postgres://${role}_edge:$(cat edge-password)@postgres:5432/$role?sslmode=disable" >edge-database-url
show admin-token "the admin's token${environment:+ of $environment}"
give "${of}migrate" database-url admin-password edge-password
give "${of}admin" admin-database-url admin-token
give "${of}edge" edge-database-url
if [ "$environment" ]; then
    give "postgres/$environment" database-password admin-password edge-password
    exit
fi
draw dashboard-password
show grafana-password "Grafana's password of admin"
give postgres database-password
give migrate dashboard-password
give grafana dashboard-password grafana-password
