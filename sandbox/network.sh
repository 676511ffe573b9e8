# shellcheck shell=bash disable=SC2016,SC2034,SC2154
# One bridge, in a network namespace of its own: a host engine's firewall (FORWARD DROP) would otherwise eat
# the bridged packets. The registry lives in that namespace, too, so that its ports cannot collide with anything.
# This machine has one cable into it; nothing else of the machine's network is touched, and there is no way out.

switch=swarm-stack-sandbox-$id
host_link=$id-host

ours() { [[ $(ip link show dev "$host_link" 2>/dev/null) == *'alias swarm-stack-sandbox'* ]]; }

network_ok() {
  [[ $(ip -n "$switch" -4 -o addr show dev br0 2>/dev/null) == *" $registry_ip/"* &&
    $(ip -4 -o addr show dev "$host_link" 2>/dev/null) == *" $host_ip/"* ]]
}

refuse_foreign_network() {
  local routes
  routes=$({
    ip -4 route show table all match "$net.0/24" # routes around the network …
    ip -4 route show table all root "$net.0/24"  # … and inside of it
  } | grep -vE "^(default|0\.0\.0\.0/1|128\.0\.0\.0/1) | dev $host_link( |\$)" || true)
  [ -z "$routes" ] || die "this machine already routes $net.0/24 elsewhere (${routes%%$'\n'*}); choose another network, for example: SANDBOX_NET=10.$((RANDOM % 100 + 100)).$((RANDOM % 200)) script/sandbox up"
}

network_up() {
  if network_ok; then return; fi
  network_down
  refuse_foreign_network
  if ip link show dev "$host_link" >/dev/null 2>&1; then
    die "this machine has a network link '$host_link' that is not ours; choose another SANDBOX_ID"
  fi
  # Fixed addresses: a bridge takes the lowest of its ports' otherwise, and every node that comes or goes
  # would leave the others with a stale ARP entry for more than a minute.
  ip netns add "$switch"
  ip -n "$switch" -batch - <<-END
	link set lo up
	link add br0 address 02:77:00:00:00:fa type bridge
	addr add $registry_ip/24 dev br0
	link set br0 up
	END
  ip -batch - <<-END
	link add $host_link type veth peer name host netns $switch
	link set $host_link alias swarm-stack-sandbox
	addr add $host_ip/24 dev $host_link
	link set $host_link up
	END
  ip -n "$switch" link set host master br0 up
  # Tests of IPv6 need it, nothing else does; some kernels have none.
  ip addr add "$(address6 254)/64" dev "$host_link" nodad 2>/dev/null || true
}

# fd00:a:4d:0::1 is what 10.77.0.1 is.
address6() { (
  IFS=.
  # shellcheck disable=SC2086
  printf 'fd00:%x:%x:%x::%x\n' $net "$1"
); }

network_down() {
  if ours; then ip link del dev "$host_link"; fi
  # A name can outlive its namespace (after a reboot, say).
  if [ -e "/run/netns/$switch" ]; then ip netns del "$switch" 2>/dev/null || rm -f "/run/netns/$switch"; fi
}

cable() { ip -n "$switch" link set "v$1" "$2"; }

# Connects a node's namespace to the bridge.
plug() {
  local n=$1 pid=$2
  ip -n "$switch" link del "v$n" 2>/dev/null || true
  ip -n "$switch" -batch - <<-END
	link add v$n type veth peer name eth0 address 02:77:00:00:00:$(printf %02x "$(number "$n")") netns $pid
	link set v$n master br0 up
	END
  nsenter -t "$pid" -n ip -batch - <<-END
	link set lo up
	link set eth0 up
	addr add $(address "$n")/24 dev eth0
	END
  nsenter -t "$pid" -n ip addr add "$(address6 "$(number "$n")")/64" dev eth0 nodad 2>/dev/null || true
}
