# shellcheck shell=bash disable=SC2016,SC2154
# What the sandbox needs from the distribution.

missing_packages() {
  local pair
  for pair in dockerd:docker.io containerd:containerd runc:runc ip:iproute2 iptables:iptables docker-registry:docker-registry sshd:openssh-server \
    ssh-keygen:openssh-client openssl:openssl perl:perl curl:curl sudo:sudo unshare:util-linux setsid:util-linux; do
    command -v "${pair%%:*}" >/dev/null || echo "${pair#*:}"
  done
  # The client is a package of its own from Debian 13 on.
  if ! command -v docker >/dev/null; then
    if apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; else echo docker.io; fi
  fi
  # Not for the sandbox itself, but for images made from nothing, without the internet.
  if ! command -v busybox >/dev/null || ldd "$(command -v busybox)" >/dev/null 2>&1; then echo busybox-static; fi
}

policy=/usr/sbin/policy-rc.d
policy_mark='made by the swarm-stack-deploy sandbox'

# Debian asks this script before a package may start its service.
policy_on() {
  policy_off
  # noclobber: an existing one is somebody's decision and stays
  (set -C && printf '#!/bin/sh\n# %s, may be deleted\nexit 101\n' "$policy_mark" >$policy) 2>/dev/null || return 0
  chmod 755 $policy
}

policy_off() {
  if grep -qs "$policy_mark" $policy; then rm -f $policy; fi
}

deps() {
  local packages log
  mapfile -t packages < <(missing_packages | sort -u)
  [ ${#packages[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "missing: ${packages[*]}; they can only be installed by themselves where there is apt-get"
  echo "installing ${packages[*]}"
  log=$(mktemp)
  # shellcheck disable=SC2064
  trap "policy_off; rm -f '$log'" EXIT # of the subshell in `locked`, as below
  trap 'exit 1' INT TERM HUP
  policy_on
  dpkg --configure -a >"$log" 2>&1 </dev/null || true # an installation that was cut short blocks all others
  # --no-remove: rather fail than replace an engine that this machine got from somewhere else
  if ! { apt-get -qq update &&
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends --no-remove "${packages[@]}"; } >>"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    die "could not install ${packages[*]}"
  fi
}

# --- newer engines ----------------------------------------------------------------------------------------------
# Debian's newer docker packages need nothing newer than libc 2.34, so they are unpacked beside the system
# instead of installed into it: an apt of its own, with its own lists and cache.

fetch_engine() {
  [ "$1" = host ] || locked "$engines" fetch "$1" "$engines/$1" docker.io docker-cli docker-buildx containerd
}

buildx() {
  local folder
  for folder in "${DOCKER_CONFIG:-}" "${HOME:-/root}/.docker" /usr/local/lib/docker /usr/local/libexec/docker /usr/lib/docker /usr/libexec/docker; do
    if [ -x "$folder/cli-plugins/docker-buildx" ]; then
      echo "$folder/cli-plugins/docker-buildx"
      return
    fi
  done
  locked "$engines" fetch trixie "$engines/buildx" docker-buildx
  find "$engines/buildx" -name docker-buildx -type f -perm -u+x -print -quit
}

# A docker CLI with `docker stack config`, for comparing readings of stack files: 20.10 has none, and 26 another YAML.
stack_config() {
  if docker stack config --help 2>/dev/null | grep -q skip-interpolation; then
    command -v docker
    return
  fi
  locked "$engines" fetch forky "$engines/docker-cli" docker-cli
  find "$engines/docker-cli" -path '*/bin/docker' -type f -perm -u+x -print -quit
}

# fetch SUITE FOLDER PACKAGE…
fetch() {
  local suite=$1 folder=$2 work mirror keys=/usr/share/keyrings/debian-archive-keyring.gpg
  shift 2
  if [ -d "$folder" ]; then return; fi
  rm -rf "$engines"/.fetch.* # of a crash: whoever still needed one would hold the lock
  work=$(mktemp -d "$engines/.fetch.XXXXXX")
  # shellcheck disable=SC2064
  trap "rm -rf '$work'" EXIT # of the subshell in `locked`, after this function's variables are gone
  mkdir -p "$work"/{lists/partial,archives/partial,root,debs}
  : >"$work/status"

  mirror=${SANDBOX_DEBIAN_MIRROR:-$(debian_mirror)}
  [ -n "$mirror" ] || die "this machine's apt knows no Debian mirror; name one in SANDBOX_DEBIAN_MIRROR"
  [ -e "$keys" ] || die "$keys is missing: apt-get install debian-archive-keyring"
  echo "deb [signed-by=$keys] $mirror $suite main" >"$work/sources.list"
  apt() {
    apt-get -qq -o Dir::State="$work" -o Dir::State::status="$work/status" -o Dir::Cache="$work" \
      -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
      -o APT::Sandbox::User=root "$@"
  }
  apt update >&2
  (cd "$work/debs" && apt download "$@" >&2)
  local deb
  for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/root"; done
  mv -T "$work/root" "$folder"
}

# The mirror that this machine's own apt uses for Debian.
debian_mirror() {
  apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == "Debian" { print $2; exit }'
}
