# shellcheck shell=bash disable=SC2016,SC2034,SC2154
# A node is a set of namespaces with its own dockerd and sshd; the file `node` is what happens inside.
# n1, n2, … form the swarm; `runner` is the engine of a CI machine outside of it.

nodes() { (cd "$state/nodes" 2>/dev/null && printf '%s\n' n[0-9]*) | grep -v '\*' | sort -V || true; }
role() { for n in $(nodes); do [ "$(cat "$state/nodes/$n/role")" != "$1" ] || echo "$n"; done; }
number() { if [ "$1" = runner ]; then echo 200; else echo "${1#n}"; fi; }
address() { echo "$net.$(number "$1")"; }
socket() { echo "unix://$state/nodes/$1/docker.sock"; }
running() { pid "$1" || die "$1 is off: script/sandbox power-on $1"; }
api() { curl -s --max-time "${3:-10}" --unix-socket "$state/nodes/$1/docker.sock" "http://docker$2"; }

inside() {
  local pid
  pid=$(running "$1")
  shift
  nsenter -t "$pid" -r -m -n -p -u -i -- "$@"
}

# `up` adds nodes but never takes one away: that would cost a swarm of managers its quorum.
add_nodes() {
  local role=$1 wanted=$2 asked=$3 have next
  have=$(role "$role" | wc -l)
  [ "$have" -le "${asked:-$have}" ] || echo "this sandbox keeps its $have ${role}s; for fewer: script/sandbox down --purge"
  next=$(($(nodes | wc -l) + 1))
  for (( ; have < wanted; have++, next++)); do
    mkdir -p "$state/nodes/n$next"
    echo "$role" >"$state/nodes/n$next/role"
  done
}

# Everybody's host key and name.
write_names() {
  local n key
  for n in $(nodes); do
    key=$state/nodes/$n/host_key
    [ -e "$key" ] || { ssh-keygen -q -t ed25519 -N '' -C "$n" -f "$key.new" && mv "$key.new.pub" "$key.pub" && mv "$key.new" "$key"; }
    echo "$(address "$n") $(cut -d' ' -f1,2 "$key.pub")" >&3
    echo "$(address "$n") $n"
  done 3>"$state/known_hosts" >"$state/hosts"
}

# Has a node's own script do something. It is read through stdin, since nodes do not see a clone under /root,
# and in a clean environment: a proxy set for this machine is of no use in there.
node() {
  local n=$1 what=$2 engine
  shift 2
  engine=$(recorded engine)
  if [ "$engine" = host ]; then engine=; else engine=$engines/$engine; fi
  exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
    name="$n" folder="$state/nodes/$n" state="$state" cgroup="/sandbox-$id/$n" registry_ip="$registry_ip" engine="$engine" \
    "$@" bash -s "$what" "$id/$n" <"$here/node" 9<&- # the last word is for readers of `ps`
}
in_node() {
  local pid
  pid=$(running "$1")
  (node "$1" "$2" nsenter -t "$pid" -r -m -n -p -u -i) >>"$state/nodes/$1/init.log" 2>&1
}

# Gives a node its namespaces, plugs it in and lets it boot; returns before its engine is ready.
# On a node that is up already: brings back whatever of it is dead, frozen or unplugged.
boot() {
  local n=$1 folder=$state/nodes/$1 pid outer
  if pid "$n" >/dev/null; then
    if cable "$n" up 2>/dev/null && in_node "$n" revive; then return; fi
    stop "$n" # half started
  fi
  rm -f "$folder/docker.sock"
  node "$n" boot setsid unshare --mount --net --pid --uts --ipc --fork --mount-proc --propagation private >>"$folder/init.log" 2>&1 &
  outer=$!
  for _ in {1..500}; do
    # The shell that becomes `unshare` has children, too, before.
    if [ "$(cat "/proc/$outer/comm" 2>/dev/null)" = unshare ]; then
      read -r pid 2>/dev/null <"/proc/$outer/task/$outer/children" || true
      [ -z "${pid:-}" ] || break
    fi
    sleep 0.01
  done
  [ -n "${pid:-}" ] || die "$n did not start, see $folder/init.log"
  # In this order: a node gives up without the cable, so a crash here leaves no stray one.
  record "$n" "$pid" "$folder/init.log"
  plug "$n" "$pid"
}

# dockerd opens its socket early and answers when it is ready, so one question waits for long.
wait_engine() {
  local n=$1 sock=$state/nodes/$1/docker.sock deadline=$((SECONDS + 90)) tries=0
  while [ $SECONDS -lt $deadline ]; do
    if [ -S "$sock" ] && api "$n" /_ping 5 >/dev/null; then
      chown --reference="$state/keys" "$sock"
      return
    fi
    pid "$n" >/dev/null || die "$n died: $(tail -n 3 "$state/nodes/$n/init.log")"
    if [ $((++tries % 20)) = 0 ] && ! in_node "$n" check-dockerd; then
      die "dockerd on $n ended: $(tail -n 3 "$state/nodes/$n/dockerd.log")"
    fi
    sleep 0.05
  done
  die "dockerd on $n does not answer, see $state/nodes/$n/dockerd.log"
}

# Pulls the plug of a node (or ends a registry).
stop() {
  local name=$1 pid
  if pid=$(pid "$name"); then
    cable "$name" down 2>/dev/null || true # first, or the others see a polite good-bye instead of silence
    kill -KILL "$pid" 2>/dev/null || true # PID 1 takes everything in its namespaces with it
    for _ in {1..500}; do
      pid "$name" >/dev/null || break
      sleep 0.02
    done
  fi
  ip -n "$switch" link del "v$name" 2>/dev/null || true
  rm -f "$run/$name.pid" "$state/nodes/$name/docker.sock"
}

cgroups_down() {
  local folder
  for folder in /sys/fs/cgroup/"sandbox-$id" /sys/fs/cgroup/*/"sandbox-$id"; do
    if [ -d "$folder" ]; then find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
  done
}

# --- the swarm --------------------------------------------------------------------------------------------------

in_swarm() { [[ $(api "$1" /info) != *'"LocalNodeState":"inactive"'* ]]; }

swarm_up() {
  local n count jobs=()
  wait_engine n1
  in_swarm n1 || docker -H "$(socket n1)" swarm init --advertise-addr "$(address n1)" >/dev/null
  for n in $(nodes); do
    [ "$n" != n1 ] || continue
    join "$n" &
    jobs+=($!)
  done
  all "${jobs[@]}"
  count=$(nodes | wc -l)
  for _ in {1..600}; do
    [ "$(api n1 /nodes | grep -o '"State":"ready"' | wc -l)" -lt "$count" ] || return 0
    sleep 0.1
  done
  die "the swarm does not get ready, see: script/sandbox status"
}

join() {
  local n=$1 token problem
  wait_engine "$n"
  if in_swarm "$n"; then return; fi
  for _ in {1..10}; do
    # Managers that join at the same moment get in each other's way, hence the attempts.
    if token=$(docker -H "$(socket n1)" swarm join-token -q "$(cat "$state/nodes/$n/role")" 2>&1) &&
      problem=$(docker -H "$(socket "$n")" swarm join --token "$token" --advertise-addr "$(address "$n")" "$(address n1):2377" 2>&1); then return; fi
    docker -H "$(socket "$n")" swarm leave --force >/dev/null 2>&1 || true
    sleep 0.5
  done
  die "$n cannot join the swarm: ${problem:-$token}"
}
